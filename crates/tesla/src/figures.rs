//! Figures as people write them, on the terminal and on pages.

/// A number in at most four significant digits; whole numbers below ten millions in full.
pub(crate) fn number(x: f64) -> String {
    let size = x.abs();
    match size {
        _ if !x.is_finite() => x.to_string(),
        _ if x.fract() == 0.0 && size < 1e7 => match x < 0.0 {
            true => format!("-{}", count(size as usize)),
            false => count(size as usize),
        },
        1e3..1e7 => number(x.round()),
        1e-4..1e3 => {
            let digits = (3 - size.log10().floor() as i32).clamp(1, 7) as usize;
            let text = format!("{x:.digits$}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => {
            let text = format!("{x:.2e}");
            match text.split_once('e') {
                Some((digits, power)) => {
                    let digits = digits.trim_end_matches('0').trim_end_matches('.');
                    format!("{digits}e{power}")
                }
                None => text,
            }
        }
    }
}

/// A figure of a report: four decimals where it is small.
pub(crate) fn figure(x: f64) -> String {
    match x.abs() {
        _ if !x.is_finite() => x.to_string(),
        size if size < 1e-12 => "0".into(),
        size if (1e-4..10.0).contains(&size) => format!("{x:.4}"),
        _ => number(x),
    }
}

/// A number where there is little room, such as on an axis: `12.3k`, `1.48M`.
pub(crate) fn short(x: f64) -> String {
    let three = |x: f64| {
        let digits = (2 - x.abs().log10().floor() as i32).clamp(0, 2) as usize;
        let text = format!("{x:.digits$}");
        match digits {
            0 => text,
            _ => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        }
    };
    match x.abs() {
        // Steps of an axis that add up to 0 seldom do so exactly.
        size if size < 1e-12 => "0".into(),
        1e4..999_500.0 => three(x / 1e3) + "k",
        999_500.0..9.995e8 => three(x / 1e6) + "M",
        _ => number(x),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in 0..1 as a percentage that is only 0 or 100 when it is exactly so.
pub(crate) fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0 %".into(),
        p if p < 0.1 => "<0.1 %".into(),
        p if p < 9.95 => format!("{p:.1} %"),
        p if p < 99.0 || p == 100.0 => format!("{p:.0} %"),
        p if p < 99.95 => format!("{p:.1} %"),
        _ => ">99.9 %".into(),
    }
}

/// `part` of `whole` in 0..1; nothing of nothing is 0.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown =
            [0.0, -0.0, 17.0, -4321.0, 1234567.0, 38.5816, -119.5697, 0.00123456, 206855.8169];
        let expected =
            ["0", "0", "17", "-4,321", "1,234,567", "38.58", "-119.6", "0.001235", "206,856"];
        assert_eq!(shown.map(number), expected);
        assert_eq!([1.5e-7, 2.5e9, -1e300, 0.1].map(number), ["1.5e-7", "2.5e9", "-1e300", "0.1"]);
    }

    #[test]
    fn short_numbers_have_letters() {
        let shown =
            [0.0, 1e-17, 12285.0, -1484705.0, 500001.0, 999_999.0, 9_999.0, 3.5348].map(short);
        assert_eq!(shown, ["0", "0", "12.3k", "-1.48M", "500k", "1M", "9,999", "3.535"]);
    }

    #[test]
    fn a_share_never_rounds_to_all_or_nothing() {
        let shown = [0.0, 0.0001, 0.056, 0.24, 0.9949, 0.99999, 1.0].map(percent);
        assert_eq!(shown, ["0 %", "<0.1 %", "5.6 %", "24 %", "99.5 %", ">99.9 %", "100 %"]);
    }
}
