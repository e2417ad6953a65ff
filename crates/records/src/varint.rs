//! Kafka's variable-length numbers: seven bits in each byte, the lowest first, zigzag for the sign.
//!
//! Records are full of them and most take one or two bytes, so those two cases come first and inline.
//! Reading accepts what Kafka's own reader does: at most five bytes for 32 bits and ten for 64, and numbers
//! written with more bytes than they need. Bits past the type's size are refused.

/// Reads a number of 32 bits at the start of `bytes`, which then start after it. `None` where it has no end.
#[inline(always)]
pub(crate) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            u32::from(first)
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            u32::from(first & 0x7f) | u32::from(second) << 7
        }
        _ => {
            let (raw, rest) = read_long(bytes, 5)?;
            *bytes = rest;
            u32::try_from(raw).ok()?
        }
    };
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Reads a number of 64 bits at the start of `bytes`, which then start after it. `None` where it has no end.
#[inline(always)]
pub(crate) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            u64::from(first)
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            u64::from(first & 0x7f) | u64::from(second) << 7
        }
        _ => {
            let (raw, rest) = read_long(bytes, 10)?;
            *bytes = rest;
            raw
        }
    };
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// How many bytes [`write_i32`] writes.
pub(crate) fn size_of_i32(number: i32) -> usize {
    size_of_i64(i64::from(number))
}

/// How many bytes [`write_i64`] writes.
pub(crate) fn size_of_i64(number: i64) -> usize {
    let bits = 64 - (zigzag(number) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a number of 32 bits.
pub(crate) fn write_i32(number: i32, to: &mut Vec<u8>) {
    // A number takes the same bytes in both sizes.
    write_i64(i64::from(number), to);
}

/// Appends a number of 64 bits.
pub(crate) fn write_i64(number: i64, to: &mut Vec<u8>) {
    let mut raw = zigzag(number);
    while raw >= 0x80 {
        to.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    to.push(raw as u8);
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// Reads the raw bits of a number of any length up to `size_max` bytes, and returns what follows them.
///
/// Takes the slice by value: a reference that escapes would keep the callers from holding it in registers.
#[inline(never)]
fn read_long(bytes: &[u8], size_max: usize) -> Option<(u64, &[u8])> {
    let mut raw = 0;
    for (at, &byte) in bytes.iter().enumerate().take(size_max) {
        let seven = u64::from(byte & 0x7f);
        let shifted = seven << (7 * at);
        if shifted >> (7 * at) != seven {
            return None;
        }
        raw |= shifted;
        if byte < 0x80 {
            return Some((raw, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_the_bytes_that_kafka_gives_it() {
        for (number, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (-8192, &[0xff, 0x7f]),
            (8192, &[0x80, 0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut written = Vec::new();
            write_i32(number, &mut written);
            assert_eq!(written, bytes, "{number}");
            assert_eq!(size_of_i32(number), bytes.len(), "{number}");
            assert_eq!(read_i32(&mut &*written), Some(number));
            assert_eq!(read_i64(&mut &*written), Some(i64::from(number)));
        }
        for number in [i64::MAX, i64::MIN] {
            let mut written = Vec::new();
            write_i64(number, &mut written);
            assert_eq!((written.len(), size_of_i64(number)), (10, 10));
            assert_eq!(read_i64(&mut &*written), Some(number));
            assert_eq!(read_i32(&mut &*written), None);
        }
    }

    #[test]
    fn a_number_without_an_end_is_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0x80], &[0x80; 5], &[0xff, 0xff, 0xff, 0xff, 0x10]] {
            assert_eq!(read_i32(&mut &*bytes), None, "{bytes:x?}");
        }
        let mut too_many_bits = [0xff; 10];
        too_many_bits[9] = 0x02;
        for bytes in [&[][..], &[0x80], &[0x80; 10], &too_many_bits] {
            assert_eq!(read_i64(&mut &*bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn a_number_with_more_bytes_than_it_needs_is_read() {
        assert_eq!(read_i32(&mut &[0x82, 0x00][..]), Some(1));
        assert_eq!(read_i32(&mut &[0x82, 0x80, 0x80, 0x80, 0x00][..]), Some(1));
        assert_eq!(read_i64(&mut &[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), Some(1));
    }

    proptest! {
        #[test]
        fn a_number_survives(number: i64, small: i32, after: Vec<u8>) {
            let mut written = Vec::new();
            write_i64(number, &mut written);
            write_i32(small, &mut written);
            prop_assert_eq!(written.len(), size_of_i64(number) + size_of_i32(small));
            written.extend_from_slice(&after);
            let mut bytes = &*written;
            prop_assert_eq!(read_i64(&mut bytes), Some(number));
            prop_assert_eq!(read_i32(&mut bytes), Some(small));
            prop_assert_eq!(bytes, &*after);
        }
    }
}
