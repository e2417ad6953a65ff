//! CRC-32C (Castagnoli), the checksum of a record batch, in one call or streamed.
//!
//! The processor's own instruction is used where there is one.

/// The CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// The CRC-32C of all the bytes that `crc` is of, followed by `bytes`. The CRC of no bytes is 0.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

/// The CRC-32C of a message after its head was overwritten, from the CRC that it had, the old and the new
/// head, and how many bytes follow the head.
///
/// The bytes that follow are not read, so damage in them stays visible: the new CRC matches exactly if the
/// old one did.
///
/// # Panics
///
/// If the two heads differ in length.
#[must_use]
pub fn crc32c_with_head(crc: u32, old_head: &[u8], new_head: &[u8], bytes_after: usize) -> u32 {
    assert_eq!(old_head.len(), new_head.len(), "a head is overwritten by one of the same length");
    // CRCs are linear: the difference of two messages of one length that end alike is the difference of
    // their heads, moved over the bytes that follow.
    let difference = crc32c(old_head) ^ crc32c(new_head);
    crc ^ past_zeros(difference, bytes_after)
}

/// The polynomial of CRC-32C, its lowest power in the highest bit, as in the CRC itself.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `x` to the power of `8 << k` modulo the polynomial, at each `k`: what `1 << k` zero bytes multiply by.
const ZEROS: [u32; usize::BITS as usize] = {
    let mut powers = [1 << (31 - 8); usize::BITS as usize];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// Moves a CRC, or the difference of two, past `count` bytes that are zero.
fn past_zeros(crc: u32, count: usize) -> u32 {
    ZEROS
        .iter()
        .enumerate()
        .filter(|(k, _)| count >> k & 1 == 1)
        .fold(crc, |crc, (_, &power)| multiply(crc, power))
}

/// The product of two polynomials over the field of two elements, modulo [`POLYNOMIAL`].
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut power = 0;
    while power < 32 {
        product ^= b & (a >> 31).wrapping_neg();
        a <<= 1;
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
        power += 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The vectors are those of RFC 3720, appendix B.4.
    #[test]
    fn the_vectors_of_the_standard_match() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, crc) in
            [(&[0; 32][..], 0x8a91_36aa), (&[255; 32], 0x62a8_ab43), (&ascending, 0x46dd_794e), (b"", 0)]
        {
            assert_eq!(crc32c(bytes), crc);
        }
    }

    proptest! {
        #[test]
        fn a_stream_has_the_crc_of_the_whole(bytes: Vec<u8>, cut: prop::sample::Index) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(crc32c_append(crc32c(head), tail), crc32c(&bytes));
        }

        #[test]
        fn an_overwritten_head_changes_the_crc_as_computing_it_again_does(
            heads in prop::collection::vec(any::<(u8, u8)>(), 0..40),
            tail: Vec<u8>,
        ) {
            let (old, new): (Vec<u8>, Vec<u8>) = heads.into_iter().unzip();
            let before = crc32c_append(crc32c(&old), &tail);
            let after = crc32c_append(crc32c(&new), &tail);
            prop_assert_eq!(crc32c_with_head(before, &old, &new, tail.len()), after);
        }
    }
}
