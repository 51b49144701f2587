//! Disks that are full, broken or read-only for a while: said, nothing half done, and going on when they are well again.

use super::crash::*;
use super::*;
