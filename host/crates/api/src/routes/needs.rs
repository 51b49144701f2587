//! What each route needs of who asks. One row a path: what reads it, and what changes something by it.

use axum::http::Method;
use lowtide_access::Scope;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, openapi::OpenApi};

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: probes, which tell nothing but that the daemon lives.
    Nothing,
    /// To be somebody: for paths that do not exist.
    Anyone,
    /// This scope.
    Scope(Scope),
}

const READ: Need = Need::Scope(Scope::Read);
const LEASE: Need = Need::Scope(Scope::Lease);
const ADDONS: Need = Need::Scope(Scope::Addons);
const ADMIN: Need = Need::Scope(Scope::Admin);

/// Path, need of GET and HEAD, need of the other methods.
const NEEDS: &[(&str, Need, Need)] = &[
    ("unmatched", Need::Anyone, Need::Anyone),
    ("/livez", Need::Nothing, Need::Nothing),
    ("/readyz", Need::Nothing, Need::Nothing),
    ("/api/addons/{id}/logs", ADDONS, ADDONS),
    ("/api/addons/{id}/enable", ADDONS, ADDONS),
    ("/api/addons/{id}/disable", ADDONS, ADDONS),
    ("/api/addons/{id}/reload", ADDONS, ADDONS),
    ("/api/addons/{id}/jobs/{name}/run", ADDONS, ADDONS),
    ("/api/scheduler/lease/request", LEASE, LEASE),
    ("/api/scheduler/lease/{id}", LEASE, LEASE),
    ("/api/scheduler/lease/{id}/heartbeat", LEASE, LEASE),
    ("/api/scheduler/lease/{id}/report", LEASE, LEASE),
    ("/api/scheduler/lease/{id}/release", LEASE, LEASE),
    ("/api/scheduler/lease/{id}/revoke", ADMIN, ADMIN),
    ("/api/scheduler/override", READ, ADMIN),
    ("/api/scheduler/windows", READ, ADMIN),
];

/// What a request needs. Whoever adds a path that is not listed has one that reads, and that only an administrator may change.
pub(crate) fn need(path: &str, method: &Method) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match NEEDS.iter().find(|(listed, ..)| *listed == path) {
        Some((_, to_read, _)) if reads => *to_read,
        Some((_, _, to_act)) => *to_act,
        None if reads => READ,
        None => ADMIN,
    }
}

/// Writes into the description what each route takes: a daemon without tokens takes none, so that both are allowed.
pub(super) struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut OpenApi) {
        const NAME: &str = "token";
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `lowtide token create`. A daemon that has none takes requests of its own machine without."))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(NAME, SecurityScheme::Http(scheme));
        for (path, item) in &mut openapi.paths.paths {
            let operations = [
                (Method::GET, &mut item.get),
                (Method::PUT, &mut item.put),
                (Method::POST, &mut item.post),
                (Method::DELETE, &mut item.delete),
            ];
            for (method, operation) in operations {
                let Some(operation) = operation else { continue };
                let Need::Scope(scope) = need(path, &method) else { continue };
                let open = SecurityRequirement::default();
                operation.security = Some(vec![SecurityRequirement::new(NAME, [scope.word()]), open]);
                let said = operation.description.take().unwrap_or_default();
                let said = if said.is_empty() { said } else { format!("{said}\n\n") };
                operation.description = Some(format!("{said}Takes a token with the scope `{scope}`."));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn every_row_is_a_route() {
        for (path, ..) in NEEDS {
            assert!(ROUTES.contains(path), "{path}");
        }
    }

    #[test]
    fn what_is_not_listed_is_read_only() {
        assert_eq!(need("/api/new", &Method::GET), READ);
        assert_eq!(need("/api/new", &Method::DELETE), ADMIN);
    }
}
