use crate::{Error, Result};

/// Reads an environment variable; a parameter, so that tests need not change the environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Puts the values of environment variables in the place of `${NAME}`; `encode` is applied to each
/// value. A variable's value never stands in an error.
pub(super) fn expand(text: &str, env: Env<'_>, encode: &dyn Fn(&str) -> String) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            let message = "a `${` is not closed: expected `${NAME}`, an environment variable";
            return Err(Error::Config(message.into()));
        };
        let value = env(name).ok_or_else(|| {
            Error::Config(format!(
                "the environment variable `{name}` is not set: `[data]` refers to it as `${{{name}}}`"
            ))
        })?;
        out.push_str(before);
        out.push_str(&encode(&value));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A URL with its environment variables. A value in the user's part is percent-encoded, so that a
/// password may hold any character.
///
/// # Errors
/// When the URL itself spells out a password, a key or a token: it would be written into the run's
/// `tesla.toml` and the model.
pub(super) fn expand_url(url: &str, env: Env<'_>) -> Result<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return expand(url, env, &|value| value.trim().to_string());
    };
    if let Some(name) = literal_parameter(rest) {
        return Err(Error::Config(format!(
            "the URL of `source` spells out a secret as `{name}`, which would be stored with the model: write `{name}=${{NAME}}` there and set that environment variable"
        )));
    }
    let mut end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if scheme.starts_with("postgres") {
        // PostgreSQL's clients let a password hold any of them.
        end = rest.rfind('@').map_or(end, |at| end.max(at + 1));
    }
    let plain = |value: &str| value.to_string();
    let Some(at) = rest[..end].rfind('@') else {
        return Ok(format!("{scheme}://{}", expand(rest, env, &plain)?));
    };
    let (user, host) = rest.split_at(at);
    if user.split_once(':').is_some_and(|(_, password)| is_literal(password)) {
        let message = "the URL of `source` spells out a password, which would be stored with the model: write `${NAME}` there and set that environment variable";
        return Err(Error::Config(message.into()));
    }
    let user = expand(user, env, &percent_encode)?;
    Ok(format!("{scheme}://{user}{}", expand(host, env, &plain)?))
}

/// The first parameter of a URL whose name says that its value is a secret, and which has one.
fn literal_parameter(url: &str) -> Option<&str> {
    let (_, query) = url.split_once(['?', '#'])?;
    let parameters = query
        .split(['&', ';', '?', '#'])
        .filter_map(|part| part.split_once('='));
    let mut secret = parameters.filter(|(name, value)| is_secret(name) && is_literal(value));
    secret.next().map(|(name, _)| name)
}

/// Whether the name of a parameter says that its value must not be written down.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["auth", "jwt", "key", "pass", "pwd", "sas", "sig"];
    const PARTS: [&str; 10] = [
        "accesskey",
        "apikey",
        "authkey",
        "bearer",
        "credential",
        "password",
        "passwd",
        "secret",
        "signature",
        "token",
    ];
    // `%5F` and its like hide nothing from a server.
    let name = name
        .replace("%5F", "_")
        .replace("%5f", "_")
        .replace("%2D", "-")
        .replace("%2d", "-");
    let name = name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| WORDS.contains(&word)) || PARTS.iter().any(|part| name.contains(part))
}

/// Whether a secret stands there itself, and not the name of a variable.
pub(super) fn is_literal(value: &str) -> bool {
    !value.is_empty() && !value.contains("${")
}

/// `text` without the secrets, whoever wrote them into it.
#[cfg(any(feature = "postgres", feature = "http", test))]
pub(super) fn scrub(text: &str, secrets: &[String]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_string(), |text, secret| text.replace(secret, "***"))
}

pub(super) fn percent_encode(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PW" => Some("p@ss/w:rd".into()),
            "URL" => Some("postgres://u:secret@h/db\n".into()),
            _ => None,
        }
    }

    #[test]
    fn expands_variables_and_encodes_passwords() {
        let url = expand_url("postgres://u:${PW}@h/db", &env).unwrap();
        assert_eq!(url, "postgres://u:p%40ss%2Fw%3Ard@h/db");
        let url = expand_url("${URL}", &env).unwrap();
        assert_eq!(url, "postgres://u:secret@h/db");
        let url = expand_url("https://h/a@b?q=${PW}", &env).unwrap();
        assert_eq!(url, "https://h/a@b?q=p@ss/w:rd");
    }

    #[test]
    fn a_spelt_out_password_and_an_unknown_variable_are_refused() {
        let error = expand_url("postgres://u:hunter2@h/db", &env).unwrap_err().to_string();
        assert!(error.contains("spells out a password") && !error.contains("hunter2"), "{error}");
        for url in [
            "https://h/rows.csv?api_key=hunter2",
            "https://h/rows?page=2&token=hunter2#x",
            "https://h/rows#access_token=hunter2",
            "https://h/rows?X-Amz-Signature=hunter2",
            "https://h/rows?x=1;Subscription-Key=hunter2",
            "https://h/rows?api%5Fkey=hunter2",
            "postgres://h/db?sslmode=require&password=hunter2",
        ] {
            let error = expand_url(url, &env).unwrap_err().to_string();
            assert!(error.contains("spells out a secret as"), "{error}");
            assert!(error.contains("=${NAME}` there") && !error.contains("hunter2"), "{error}");
        }
        for url in [
            "https://h/rows?keyword=a&monkey=b&passengers=2&sort_by=author&token=",
            "https://h/rows?api_key=${PW}",
            "postgres://h/db?sslmode=require",
        ] {
            assert!(expand_url(url, &env).is_ok(), "{url}");
        }
        let error = expand_url("http://${HOST}/", &env).unwrap_err().to_string();
        assert!(error.contains("`HOST` is not set"), "{error}");
    }

    #[test]
    fn scrubs() {
        assert_eq!(scrub("no hunter2 here", &["hunter2".into(), String::new()]), "no *** here");
    }
}
