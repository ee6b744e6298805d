//! [`BitWriter`] and [`BitReader`]: fields of any width, one after the other, in a few words.
//!
//! States are stored by the million, so a stored state has no padding.

/// Words that are being filled.
pub(crate) struct BitWriter<const WORDS: usize> {
    words: [u64; WORDS],
    at: u32,
}

/// Words that are being read.
pub(crate) struct BitReader<const WORDS: usize> {
    words: [u64; WORDS],
    at: u32,
}

impl<const WORDS: usize> BitWriter<WORDS> {
    pub(crate) fn new() -> BitWriter<WORDS> {
        BitWriter { words: [0; WORDS], at: 0 }
    }

    /// Adds a field, at most 64 bits wide.
    pub(crate) fn put(&mut self, value: u64, width: u32) {
        debug_assert!(width == 64 || value >> width == 0, "{value} in {width} bits");
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        self.words[word] |= value << shift;
        if shift + width > 64 {
            self.words[word + 1] |= value >> (64 - shift);
        }
        self.at += width;
    }

    /// Adds a value below the largest one of its width, which stands for none.
    pub(crate) fn put_option(&mut self, value: Option<u8>, width: u32) {
        self.put(value.map_or((1 << width) - 1, u64::from), width);
    }

    pub(crate) fn put_flag(&mut self, flag: bool) {
        self.put(u64::from(flag), 1);
    }

    /// The words, all of which the fields must fit.
    pub(crate) fn finish(self) -> [u64; WORDS] {
        self.words
    }
}

impl<const WORDS: usize> BitReader<WORDS> {
    pub(crate) fn new(words: [u64; WORDS]) -> BitReader<WORDS> {
        BitReader { words, at: 0 }
    }

    /// Takes the next field, less than 64 bits wide.
    pub(crate) fn take(&mut self, width: u32) -> u64 {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        value & ((1 << width) - 1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "no wider than 8 bits")]
    pub(crate) fn take_u8(&mut self, width: u32) -> u8 {
        debug_assert!(width <= 8, "{width} bits in 8");
        self.take(width) as u8
    }

    pub(crate) fn take_option(&mut self, width: u32) -> Option<u8> {
        let value = self.take_u8(width);
        (u64::from(value) != (1 << width) - 1).then_some(value)
    }

    pub(crate) fn take_flag(&mut self) -> bool {
        self.take(1) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_across_words() {
        let fields =
            [(5, 3), (0x1234, 16), (1, 1), (0xff_ffff, 24), (9, 4), (0xfeed_beef, 33), (3, 2), (77, 45)];
        let mut writer = BitWriter::<2>::new();
        fields.iter().for_each(|&(value, width)| writer.put(value, width));
        let mut reader = BitReader::new(writer.finish());
        assert_eq!(fields.map(|(_, width)| reader.take(width)), fields.map(|(value, _)| value));
    }

    #[test]
    fn largest_value_stands_for_none() {
        let mut writer = BitWriter::<1>::new();
        [Some(0), None, Some(6)].into_iter().for_each(|value| writer.put_option(value, 3));
        writer.put_flag(true);
        let mut reader = BitReader::new(writer.finish());
        assert_eq!([(); 3].map(|()| reader.take_option(3)), [Some(0), None, Some(6)]);
        assert!(reader.take_flag());
    }
}
