//! What the commands for authors have in common: how they end when they cannot do their work.

use crate::exit::Exit;
use lowtide_authoring::AuthorError;

pub(super) fn exit_of(error: &AuthorError) -> Exit {
    match error {
        AuthorError::Input(_) => Exit::Usage,
        AuthorError::Missing(_) => Exit::Unavailable,
        AuthorError::Tool { .. } => Exit::Findings,
        AuthorError::File { .. } => Exit::CannotCreate,
        AuthorError::Host(_) => Exit::Failed,
    }
}
