//! Randomness, handed in as a seed: the same seed gives the same tokens and identifiers.
//!
//! This is SplitMix64 (Steele, Lea and Flood, 2014). It is not for secrets: every secret of the sandbox is public anyway.

/// A small generator of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// `length` letters and digits.
    pub(crate) fn token(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(ALPHABET[(self.next() % 62) as usize]))
            .collect()
    }

    /// A version 4 UUID in its usual spelling.
    pub(crate) fn uuid(&mut self) -> String {
        let high = (self.next() & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000;
        let low = (self.next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFFF,
            low >> 48,
            low & 0xFFFF_FFFF_FFFF
        )
    }
}

/// `number` in base 62 with leading zeros, ordered like the number when compared byte by byte.
pub(crate) fn base62(mut number: u64, width: usize) -> String {
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8(digits).expect("the alphabet is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_identifiers() {
        let (mut one, mut two) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(one.uuid(), two.uuid());
        assert_eq!(one.token(20), two.token(20));
        let uuid = one.uuid();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"), "{uuid}");
    }

    #[test]
    fn base62_keeps_the_order_of_numbers() {
        assert_eq!(base62(62, 3), "010");
        let mut texts: Vec<_> = (0..5000).map(|n| base62(n, 4)).collect();
        let before = texts.clone();
        texts.sort();
        assert_eq!(texts, before);
    }
}
