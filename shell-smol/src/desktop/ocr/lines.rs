//! The engine's table of words, as lines of text.

/// One line of text in a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From the picture's left edge, in pixels.
    pub(super) left: u32,
    /// From the picture's upper edge, in pixels.
    pub(super) top: u32,
    /// In pixels.
    pub(super) width: u32,
    /// In pixels.
    pub(super) height: u32,
    /// How sure the engine is, in percent: the mean of its words.
    pub(super) confidence: u32,
    /// The words.
    pub(super) text: String,
}

/// What the level of a table's row is that has a word.
const WORD: &str = "5";

struct Word<'a> {
    /// The page, block, paragraph and line that it is in.
    line: [&'a str; 4],
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
    confidence: f64,
    text: &'a str,
}

/// Reads tesseract's `tsv`: a row for each page, block, paragraph, line and word. Words that are
/// blank are not told, and a row that makes no sense is left out.
pub(super) fn parse(table: &str) -> Vec<Line> {
    let words: Vec<Word<'_>> = table.lines().filter_map(word).collect();
    let lines = words.chunk_by(|one, other| one.line == other.line);
    lines.map(line).collect()
}

fn word(row: &str) -> Option<Word<'_>> {
    let fields: Vec<&str> = row.splitn(12, '\t').collect();
    let &[
        level,
        page,
        block,
        paragraph,
        line,
        _,
        left,
        top,
        width,
        height,
        confidence,
        text,
    ] = &fields[..]
    else {
        return None;
    };
    let text = text.trim();
    if level != WORD || text.is_empty() {
        return None;
    }
    let (left, top): (u32, u32) = (left.parse().ok()?, top.parse().ok()?);
    Some(Word {
        line: [page, block, paragraph, line],
        left,
        top,
        right: left.checked_add(width.parse().ok()?)?,
        bottom: top.checked_add(height.parse().ok()?)?,
        confidence: confidence.parse().ok()?,
        text,
    })
}

/// Words of one line, of which there is at least one.
fn line(words: &[Word<'_>]) -> Line {
    let least = |edge: fn(&Word<'_>) -> u32| words.iter().map(edge).min().unwrap_or(0);
    let most = |edge: fn(&Word<'_>) -> u32| words.iter().map(edge).max().unwrap_or(0);
    let (left, top) = (least(|word| word.left), least(|word| word.top));
    let sum: f64 = words.iter().map(|word| word.confidence).sum();
    let text: Vec<&str> = words.iter().map(|word| word.text).collect();
    Line {
        left,
        top,
        width: most(|word| word.right) - left,
        height: most(|word| word.bottom) - top,
        confidence: (sum / words.len() as f64).round().clamp(0.0, 100.0) as u32,
        text: text.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_become_lines() {
        let table = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
            4\t1\t1\t1\t1\t0\t10\t20\t80\t12\t-1\t\n\
            5\t1\t1\t1\t1\t1\t10\t22\t30\t10\t90.6\tgood\n\
            5\t1\t1\t1\t1\t2\t50\t20\t40\t11\t80\tmorning\n\
            5\t1\t1\t1\t1\t3\t95\t20\t1\t11\t80\t \n\
            5\t1\t1\t1\t2\t1\t10\t40\t30\t10\t7\tsun\n\
            5\t1\t1\t1\t2\t2\tx\t40\t30\t10\t7\todd\n";
        let line = |left, top, width, height, confidence, text: &str| Line {
            left,
            top,
            width,
            height,
            confidence,
            text: text.to_owned(),
        };
        let expected = vec![
            line(10, 20, 80, 12, 85, "good morning"),
            line(10, 40, 30, 10, 7, "sun"),
        ];
        assert_eq!(parse(table), expected);
    }

    proptest! {
        #[test]
        fn no_table_is_too_odd(table in "([0-9]{1,10}\t){6,11}([-0-9.]{0,5}\t)?[a\n\t]{0,9}") {
            let _ = parse(&table);
            let _ = parse(&table.repeat(3));
        }
    }
}
