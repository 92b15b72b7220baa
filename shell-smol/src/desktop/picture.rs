//! Pictures as files: PNG for people, and small enough for a model.
//!
//! A picture of somebody's screen is private: its file is for this user alone, in a folder that is
//! too, and only the newest [`KEPT`] of a folder are kept.

use super::{SMALL_BYTES, SMALL_SIDE, Shot};
use png::{BitDepth, ColorType, Compression};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};
use xcap::image::imageops::{self, FilterType};
use xcap::image::{RgbImage, RgbaImage};

/// How many pictures of one folder are kept.
const KEPT: usize = 100;
/// How the names of pictures begin.
const NAME: &str = "capture-";
/// What a picture is called that is made small.
const SMALL: &str = "-small";
/// The qualities that are tried, until a picture is small enough.
const QUALITIES: [u8; 3] = [85, 65, 40];

/// A picture without its alpha, which a screen has none of.
pub(super) fn opaque(image: &RgbaImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let pixels = image.as_raw().chunks_exact(4);
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    for pixel in pixels {
        rgb.extend_from_slice(&pixel[..3]);
    }
    RgbImage::from_raw(width, height, rgb).unwrap_or_default()
}

/// Puts a picture into a folder, and a small one beside it when a model is to see it and it is too
/// large for that.
///
/// # Errors
/// It cannot be written; the words say where.
pub(super) fn keep(folder: &Path, image: &RgbImage, shown: bool) -> Result<Kept, String> {
    let (width, height) = image.dimensions();
    let too_large = width.max(height) > SMALL_SIDE;
    let (full, small) = thread::scope(|scope| {
        let small = (shown && too_large).then(|| scope.spawn(|| smaller(image)));
        let full = png(image);
        let small = small.map(|thread| thread.join().map_err(|_| oddly()));
        (full, small)
    });
    let full = full.map_err(|error| format!("the picture cannot be made a PNG: {error}"))?;
    let small = match small {
        Some(small) => Some(small??),
        None if shown && full.len() > SMALL_BYTES => Some(smaller(image)?),
        None => None,
    };
    let failed = |error| format!("{} cannot be written: {error}", folder.display());
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(failed)?;
    let (path, stem) = fresh(folder, &full).map_err(failed)?;
    let mut kept = Kept {
        seen: (width, height),
        shot: Shot {
            path,
            width,
            height,
            small: None,
        },
    };
    if let Some(Small { bytes, size, kind }) = small {
        let path = folder.join(format!("{stem}{SMALL}.{kind}"));
        write(&path, &bytes).map_err(failed)?;
        kept.shot.small = Some(path);
        kept.seen = size;
    }
    forget(folder);
    Ok(kept)
}

/// What was put into a folder.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) shot: Shot,
    /// The size in which a model knows it, in pixels.
    pub(super) seen: (u32, u32),
}

struct Small {
    bytes: Vec<u8>,
    size: (u32, u32),
    kind: &'static str,
}

/// The picture within the bounds of what a model sees: as PNG, in which writing stays sharp, or
/// where that is too much, as a photo's is, as JPEG.
fn smaller(image: &RgbImage) -> Result<Small, String> {
    let (width, height) = image.dimensions();
    let longer = width.max(height).max(1);
    let side = |size: u32| match longer > SMALL_SIDE {
        true => (size * SMALL_SIDE).div_ceil(longer).max(1),
        false => size,
    };
    let size = (side(width), side(height));
    let scaled = match size == (width, height) {
        true => None,
        false => Some(imageops::resize(
            image,
            size.0,
            size.1,
            FilterType::Triangle,
        )),
    };
    let image = scaled.as_ref().unwrap_or(image);
    let bytes = png(image).map_err(|error| format!("the picture cannot be made small: {error}"))?;
    if bytes.len() <= SMALL_BYTES {
        return Ok(Small {
            bytes,
            size,
            kind: "png",
        });
    }
    for quality in QUALITIES {
        let bytes = jpeg(image, quality)?;
        if bytes.len() <= SMALL_BYTES {
            return Ok(Small {
                bytes,
                size,
                kind: "jpg",
            });
        }
    }
    Err("the picture cannot be made small enough for a model: capture a region".to_owned())
}

fn png(image: &RgbImage) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    // A fifth larger than the best, in a tenth of the time.
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

fn jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, String> {
    let size = |size: u32| u16::try_from(size).map_err(|_| oddly());
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, quality)
        .encode(
            image.as_raw(),
            size(image.width())?,
            size(image.height())?,
            jpeg_encoder::ColorType::Rgb,
        )
        .map_err(|error| format!("the picture cannot be made small: {error}"))?;
    Ok(bytes)
}

fn oddly() -> String {
    "the picture has an odd size".to_owned()
}

/// Writes a file of a name that none has, after the time: the path, and the name without its kind.
fn fresh(folder: &Path, bytes: &[u8]) -> io::Result<(PathBuf, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut time = now.unwrap_or_default().as_millis();
    loop {
        // As wide as until the year 2286: names are ordered as times are.
        let stem = format!("{NAME}{time:013}");
        let path = folder.join(format!("{stem}.png"));
        match write(&path, bytes) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => time += 1,
            result => return result.map(|()| (path, stem)),
        }
    }
}

/// Writes a file that is not there yet, for this user alone.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file.write_all(bytes);
    if written.is_err() {
        // Half a picture is none.
        let _ = fs::remove_file(path);
    }
    written
}

/// Removes the oldest pictures of a folder, and nothing else.
fn forget(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_ours(name)).collect();
    names.sort_unstable_by(|one, other| other.cmp(one));
    let mut pictures = 0;
    for name in names {
        pictures += usize::from(!name.contains(SMALL));
        if pictures > KEPT {
            // What somebody else removed meanwhile is gone too.
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

fn is_ours(name: &str) -> bool {
    let time = name.strip_prefix(NAME).unwrap_or_default();
    let digits = time.bytes().take_while(u8::is_ascii_digit).count();
    let small = format!("{SMALL}.");
    let kind = time[digits..].replacen(&small, ".", 1);
    digits >= 13 && [".png", ".jpg"].contains(&kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use xcap::image::Rgb;

    /// Noise, which nothing compresses.
    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 1_u64;
        RgbImage::from_fn(width, height, |_, _| {
            state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
            Rgb([
                (state >> 33) as u8,
                (state >> 41) as u8,
                (state >> 49) as u8,
            ])
        })
    }

    #[test]
    fn a_picture_is_kept_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let image = noise(30, 20);
        let kept = keep(&folder, &image, true).unwrap();
        assert_eq!((kept.seen, kept.shot.small), ((30, 20), None));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&kept.shot.path), 0o600);
        assert_eq!(mode(&folder), 0o700);
        let file = fs::File::open(&kept.shot.path).unwrap();
        let mut reader = png::Decoder::new(io::BufReader::new(file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(&pixels, image.as_raw());
    }

    #[test]
    fn a_model_gets_what_is_within_the_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let wide = RgbImage::new(3_000, 300);
        let kept = keep(dir.path(), &wide, true).unwrap();
        assert_eq!(kept.seen, (1_568, 157));
        let small = kept.shot.small.unwrap();
        assert!(small.to_str().unwrap().ends_with("-small.png"));
        // A photo of the size of a screen: no PNG of it is small.
        let kept = keep(dir.path(), &noise(1_000, 1_000), true).unwrap();
        assert_eq!(kept.seen, (1_000, 1_000));
        let small = kept.shot.small.unwrap();
        assert!(small.to_str().unwrap().ends_with("-small.jpg"));
        assert!(fs::metadata(&small).unwrap().len() <= SMALL_BYTES as u64);
        let unseen = keep(dir.path(), &wide, false).unwrap();
        assert_eq!((unseen.seen, unseen.shot.small), ((3_000, 300), None));
    }

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let others = ["capture-1.png", "capture-0000000000001.txt", "letter.png"];
        for name in others {
            fs::write(dir.path().join(name), "").unwrap();
        }
        for index in 0..KEPT {
            let name = format!("{NAME}{index:013}");
            fs::write(dir.path().join(format!("{name}.png")), "").unwrap();
            fs::write(dir.path().join(format!("{name}{SMALL}.jpg")), "").unwrap();
        }
        let kept = keep(dir.path(), &RgbImage::new(1, 1), true).unwrap();
        let gone = |name: &str| !dir.path().join(name).exists();
        assert!(gone("capture-0000000000000.png") && gone("capture-0000000000000-small.jpg"));
        assert!(!gone("capture-0000000000001.png") && kept.shot.path.exists());
        assert!(others.iter().all(|name| !gone(name)));
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            others.len() + 2 * (KEPT - 1) + 1
        );
    }
}
