//! The little of URLs that paging needs.

/// Scheme, host and port: what a secret may be sent to.
pub(super) fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// `link` as a whole URL, read from the page `base`.
pub(super) fn resolve(base: &str, link: &str) -> String {
    let link = link.trim();
    let scheme = base.split("://").next().unwrap_or_default();
    let without = |marks: &[char]| base.find(marks).map_or(base, |at| &base[..at]);
    match link {
        _ if link.starts_with("http://") || link.starts_with("https://") => link.into(),
        _ if link.starts_with("//") => format!("{scheme}:{link}"),
        _ if link.starts_with('/') => format!("{}{link}", origin(base)),
        _ if link.starts_with('?') => format!("{}{link}", without(&['?', '#'])),
        _ => {
            let page = without(&['?', '#']);
            let folder = match page.rfind('/').filter(|at| *at >= origin(base).len()) {
                Some(at) => &page[..at],
                None => page,
            };
            format!("{folder}/{link}")
        }
    }
}

/// The URL with the query parameter `name` set to `value`.
pub(super) fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (page, query) = url.split_once('?').unwrap_or((url, ""));
    let is_other = |part: &&str| !part.is_empty() && part.split('=').next() != Some(name);
    let mut parts: Vec<String> = query.split('&').filter(is_other).map(String::from).collect();
    parts.push(format!("{name}={}", super::percent_encode(value)));
    format!("{page}?{}", parts.join("&"))
}

/// The address that a `Link` header calls the next one (RFC 8288).
pub(super) fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut words = value.trim().trim_matches('"').split_whitespace();
            key.trim().eq_ignore_ascii_case("rel") && words.any(|w| w.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_links() {
        let base = "https://h:8/a/b?x=1#y";
        assert_eq!(origin(base), "https://h:8");
        assert_eq!(resolve(base, "https://o/p"), "https://o/p");
        assert_eq!(resolve(base, "//o/p"), "https://o/p");
        assert_eq!(resolve(base, "/p"), "https://h:8/p");
        assert_eq!(resolve(base, "?x=2"), "https://h:8/a/b?x=2");
        assert_eq!(resolve(base, "p"), "https://h:8/a/p");
        assert_eq!(resolve("http://h", "p"), "http://h/p");
    }

    #[test]
    fn sets_parameters() {
        assert_eq!(with_parameter("http://h/a", "page", "2"), "http://h/a?page=2");
        let url = with_parameter("http://h/a?page=1&q=x#f", "page", "a b&c");
        assert_eq!(url, "http://h/a?q=x&page=a%20b%26c");
    }

    #[test]
    fn finds_the_next_link() {
        let header = r#"<http://h/?p=1>; rel="prev", </?p=3,4>; rel="next last"; title=x"#;
        assert_eq!(next_link(header), Some("/?p=3,4"));
        assert_eq!(next_link("<http://h/>; rel=prev"), None);
        assert_eq!(next_link("junk"), None);
    }
}
