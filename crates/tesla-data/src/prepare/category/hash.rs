/// MurmurHash3, 32 bits, seed 0: what scikit-learn's hashers use.
pub(super) fn murmur3(bytes: &[u8]) -> i32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut h = 0u32;
    for block in blocks {
        h = (h ^ mix(u32::from_le_bytes(*block))).rotate_left(13);
        h = h.wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    h ^= mix(u32::from_le_bytes(last));
    h ^= bytes.len() as u32;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    (h ^ (h >> 16)) as i32
}

/// The column of a name and what stands in it, as scikit-learn's `FeatureHasher` has it.
pub(super) fn hashed(name: &str, columns: usize) -> (usize, f64) {
    let hash = murmur3(name.as_bytes());
    (hash.unsigned_abs() as usize % columns, if hash < 0 { -1.0 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_published_hash() {
        // `sklearn.utils.murmurhash3_32(text, seed=0)`.
        let expected =
            [("", 0), ("a", 1009084850), ("foo", -156908512), ("hello world", 1586663183)];
        for (text, hash) in expected {
            assert_eq!(murmur3(text.as_bytes()), hash, "{text}");
        }
    }
}
