//! Figures as people read them.

/// A number of bytes in the largest unit of which there is at least one.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|&(_, bits)| bytes >> bits > 0) {
        None => format!("{bytes} B"),
        Some((unit, bits)) if bytes.trailing_zeros() >= bits => format!("{} {unit}", bytes >> bits),
        Some((unit, bits)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << bits) as f64),
    }
}

/// A time in the unit that keeps it short.
pub(crate) fn time(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The size of a folio of this order.
pub(crate) fn folio(order: usize) -> String {
    bytes(4096 << order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 4096, 3 << 19, 1 << 30].map(bytes), ["0 B", "4 KiB", "1.5 MiB", "1 GiB"]);
        assert_eq!([5, 1500, 99_000_000, 7_000_000_000].map(time), ["5 ns", "1.5 µs", "99 ms", "7.0 s"]);
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
