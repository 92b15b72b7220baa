//! The three exports that make a library a skill. Take this file over as it is.

use std::alloc::Layout;

fn layout(len: usize) -> Option<Layout> {
    Layout::array::<u8>(len)
        .ok()
        .filter(|layout| layout.size() > 0)
}

/// Room for `len` bytes; null when there is none.
#[no_mangle]
pub extern "C" fn alloc(len: usize) -> *mut u8 {
    match layout(len) {
        // SAFETY: the layout is not of size zero.
        Some(layout) => unsafe { std::alloc::alloc(layout) },
        None => std::ptr::null_mut(),
    }
}

/// Gives back what `alloc` gave.
///
/// # Safety
///
/// `ptr` came from `alloc(len)` and was not given back yet.
#[no_mangle]
pub unsafe extern "C" fn dealloc(ptr: *mut u8, len: usize) {
    if let (false, Some(layout)) = (ptr.is_null(), layout(len)) {
        std::alloc::dealloc(ptr, layout);
    }
}

/// Answers the request that lies at `ptr`; returns where the answer lies, as `ptr << 32 | len`.
///
/// # Safety
///
/// `ptr` came from `alloc(len)`, and `len` bytes were written to it.
#[no_mangle]
pub unsafe extern "C" fn run(ptr: *const u8, len: usize) -> u64 {
    let request = std::slice::from_raw_parts(ptr, len);
    let answer = crate::answer(&String::from_utf8_lossy(request));
    // It has to outlive this call. The instance serves no other, so nothing piles up.
    let answer = Box::leak(answer.into_boxed_str());
    (answer.as_ptr() as u64) << 32 | answer.len() as u64
}
