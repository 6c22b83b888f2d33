//! Avro's binary encoding, as far as change events need it: whole numbers, doubles, texts, lists, choices.

/// A datum that grows; nothing in it says what it is, the schema does.
#[derive(Debug, Default)]
pub(super) struct Datum(Vec<u8>);

impl Datum {
    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    /// An `int`, a `long`, the position of an enum's symbol or of a union's branch: zigzag, seven bits a byte.
    pub(super) fn long(&mut self, value: i64) {
        let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
        loop {
            let low = u8::try_from(left & 0x7f).unwrap_or_default();
            left >>= 7;
            if left == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    pub(super) fn double(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.long(i64::try_from(text.len()).unwrap_or(i64::MAX));
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn texts(&mut self, texts: &[String]) {
        if !texts.is_empty() {
            self.long(i64::try_from(texts.len()).unwrap_or(i64::MAX));
            texts.iter().for_each(|text| self.text(text));
        }
        self.long(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the Avro specification.
    #[test]
    fn numbers_and_texts_are_as_the_specification_says() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
        ] {
            let mut datum = Datum::default();
            datum.long(value);
            assert_eq!(datum.bytes(), bytes, "{value}");
        }
        let mut datum = Datum::default();
        datum.text("foo");
        assert_eq!(datum.bytes(), [6, 0x66, 0x6f, 0x6f]);
    }
}
