//! Sizes as people write them: `512`, `4K`, `64M`, `1.5G`. Powers of 1024, as block devices are counted.

/// Parses a size in bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size, write bytes or a number with K, M, G or T");
    let text = text.trim();
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let too_large = || format!("{text:?} is too large a size");
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let whole = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    if fraction.is_empty() {
        return if digits.contains('.') { Err(wrong()) } else { Ok(whole) };
    }
    if fraction.len() > 6 || shift == 0 {
        return Err(wrong());
    }
    let parts: u64 = fraction.parse().map_err(|_| wrong())?;
    let unit = 10_u64.pow(fraction.len() as u32);
    // At most 2^40 times a million, which 64 bits hold.
    whole.checked_add((parts << shift) / unit).ok_or_else(too_large)
}

/// Parses a size that a 32-bit field must hold.
pub(crate) fn parse_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse(text)?).map_err(|_| format!("{text:?} is too large here"))
}

/// A size for people: exact where it is a whole number of units.
pub(crate) fn format(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift {
            return if bytes.is_multiple_of(1 << shift) {
                format!("{} {unit}", bytes >> shift)
            } else {
                format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64)
            };
        }
    }
    format!("{bytes} B")
}
