//! To come later on.
