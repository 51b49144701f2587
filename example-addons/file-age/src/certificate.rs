//! When the certificates of a PEM file end.

use x509_parser::pem::Pem;

/// The certificate of a file that ends first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Certificate {
    /// Common name, or the whole subject of one without.
    pub(crate) subject: String,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

/// Looks into a PEM file with one certificate or a chain. Keys and other parts are passed over.
///
/// # Errors
/// In words, when there is no certificate or one is broken.
pub(crate) fn ends_first(pem: &[u8]) -> Result<Certificate, String> {
    let mut first: Option<Certificate> = None;
    for part in Pem::iter_from_buffer(pem) {
        let part = part.map_err(|error| format!("it is not PEM: {error}"))?;
        if !matches!(part.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            continue;
        }
        let certificate = part.parse_x509().map_err(|error| format!("a certificate is broken: {error}"))?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let found = Certificate {
            subject: name.map_or_else(|| subject.to_string(), str::to_owned),
            not_after: certificate.validity().not_after.timestamp(),
        };
        if first.as_ref().is_none_or(|first| found.not_after < first.not_after) {
            first = Some(found);
        }
    }
    first.ok_or_else(|| "there is no certificate in it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = include_str!("../fixtures/valid.pem");
    const EXPIRED: &str = include_str!("../fixtures/expired.pem");

    #[test]
    fn the_certificate_that_ends_first_counts() {
        let found = |subject: &str, not_after| Certificate { subject: subject.to_owned(), not_after };
        let valid = found("nas.example", 4_070_908_800);
        let expired = found("old.example", 1_609_459_200);
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (text, wanted) in [
            (VALID.to_owned(), &valid),
            (format!("{VALID}{EXPIRED}"), &expired),
            (format!("{EXPIRED}{VALID}"), &expired),
            (format!("a remark\n{key}{VALID}"), &valid),
        ] {
            assert_eq!(&ends_first(text.as_bytes()).unwrap(), wanted);
        }
    }

    #[test]
    fn other_files_are_told() {
        let broken = VALID.replacen("MI", "AA", 1);
        let half: String = VALID.chars().take(200).collect();
        for (text, wanted) in [
            ("", "there is no certificate in it"),
            ("hello", "there is no certificate in it"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "there is no certificate in it",
            ),
            (&broken, "a certificate is broken"),
            (&half, "it is not PEM"),
        ] {
            let problem = ends_first(text.as_bytes()).unwrap_err();
            assert!(problem.starts_with(wanted), "{problem}");
        }
    }
}
