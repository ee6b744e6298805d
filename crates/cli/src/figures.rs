//! Figures as people read them: digits in groups, bytes in units.

/// Writes a number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes how many there are of something whose plural takes an `s`.
pub fn counted(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", grouped(number))
}

/// Writes a number of bytes in the largest unit of which there is at least one.
pub fn bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|&(_, bits)| bytes >> bits > 0) {
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
        Some((unit, bits)) if bytes.trailing_zeros() >= bits => format!("{} {unit}", bytes >> bits),
        Some((unit, bits)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << bits) as f64),
    }
}

/// Writes seconds with the digits that matter.
pub fn seconds(seconds: f64) -> String {
    let digits = match seconds {
        0.0 => 0,
        ..0.001 => 6,
        ..0.1 => 3,
        ..10.0 => 2,
        _ => 1,
    };
    format!("{seconds:.digits$} s")
}

/// Writes a part of a whole in percent; `-` of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.0} %", 100.0 * part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        let texts = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn one_of_something_is_singular() {
        assert_eq!([0, 1, 1200].map(|number| counted(number, "edge")), ["0 edges", "1 edge", "1,200 edges"]);
    }

    #[test]
    fn bytes_come_in_the_largest_unit_that_fits() {
        let texts = [0, 1, 1023, 1024, 4096, 1536, (1 << 20) - 1, 2 << 20, 5 << 29].map(bytes);
        let expected = [
            "0 bytes",
            "1 byte",
            "1023 bytes",
            "1 KiB",
            "4 KiB",
            "1.5 KiB",
            "1024.0 KiB",
            "2 MiB",
            "2.5 GiB",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn short_times_have_more_digits() {
        let texts = [0.0, 0.000_765, 0.0412, 0.95, 12.34].map(seconds);
        assert_eq!(texts, ["0 s", "0.000765 s", "0.041 s", "0.95 s", "12.3 s"]);
    }

    #[test]
    fn percent_of_nothing_is_no_number() {
        assert_eq!([percent(1, 3), percent(0, 0)], ["33 %", "-"]);
    }
}
