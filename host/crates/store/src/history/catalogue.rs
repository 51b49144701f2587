//! Who the series are that have numbers in the file.

use super::seal::{self, Damages, Table};
use super::{SERIES_BITS, SeriesId};
use crate::file::Failure;
use crate::limits;
use lowtide_core::history::SeriesInfo;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All series of the file, by number and by name. What changed its kind or unit is another series of the same name.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    by_id: BTreeMap<SeriesId, Arc<SeriesInfo>>,
    by_info: HashMap<Arc<SeriesInfo>, SeriesId>,
}

impl Catalogue {
    pub(super) fn load(connection: &Connection, damages: &Damages) -> Result<Self, Failure> {
        let mut catalogue = Self::default();
        catalogue.load_new(connection, damages)?;
        Ok(catalogue)
    }

    /// Reads the series that are newer than those known.
    pub(super) fn load_new(&mut self, connection: &Connection, damages: &Damages) -> Result<(), Failure> {
        let newest = self.by_id.last_key_value().map_or(0, |(id, _)| id.0);
        let mut query =
            connection.prepare_cached("SELECT id, sealed FROM series WHERE id > ?1 ORDER BY id")?;
        let mut rows = query.query([newest])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let content = seal::open(Table::Series, key, row.get_ref(1)?.as_blob().unwrap_or_default());
            let info = content.and_then(|content| serde_json::from_slice(content).ok());
            match (u32::try_from(key), info) {
                (Ok(id), Some(info)) => self.add(SeriesId(id), info),
                _ => damages.add(Table::Series, key),
            }
        }
        Ok(())
    }

    fn add(&mut self, id: SeriesId, info: SeriesInfo) {
        let info = Arc::new(info);
        self.by_info.insert(Arc::clone(&info), id);
        self.by_id.insert(id, info);
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SeriesId, &SeriesInfo)> {
        self.by_id.iter().map(|(id, info)| (*id, &**info))
    }

    pub(super) fn get(&self, id: SeriesId) -> Option<&SeriesInfo> {
        self.by_id.get(&id).map(|info| &**info)
    }

    /// The numbers of these series, given out now if they have none.
    pub(super) fn ids(
        &mut self,
        connection: &Connection,
        series: &[SeriesInfo],
    ) -> Result<Vec<Option<SeriesId>>, Failure> {
        series.iter().map(|info| self.id(connection, info)).collect()
    }

    fn id(&mut self, connection: &Connection, info: &SeriesInfo) -> Result<Option<SeriesId>, Failure> {
        if let Some(id) = self.by_info.get(info) {
            return Ok(Some(*id));
        }
        if self.by_id.len() >= limits::CATALOGUE_SERIES_MAX {
            return Ok(None);
        }
        // The number is part of the checksum, so the row is filled once it has one.
        connection.prepare_cached("INSERT INTO series (sealed) VALUES (x'')")?.execute([])?;
        let key = connection.last_insert_rowid();
        let Some(id) = u32::try_from(key).ok().filter(|id| *id < 1 << SERIES_BITS) else {
            connection.prepare_cached("DELETE FROM series WHERE id = ?1")?.execute([key])?;
            return Ok(None);
        };
        let mut sealed = serde_json::to_vec(info).map_err(|error| Failure::Garbled(error.to_string()))?;
        seal::seal(Table::Series, key, &mut sealed);
        connection
            .prepare_cached("UPDATE series SET sealed = ?2 WHERE id = ?1")?
            .execute(params![key, sealed])?;
        self.add(SeriesId(id), info.clone());
        Ok(Some(SeriesId(id)))
    }

    /// Forgets a series of which nothing is left.
    pub(super) fn remove(&mut self, connection: &Connection, id: SeriesId) -> Result<(), Failure> {
        connection.prepare_cached("DELETE FROM series WHERE id = ?1")?.execute([id.0])?;
        if let Some(info) = self.by_id.remove(&id) {
            self.by_info.remove(&info);
        }
        Ok(())
    }
}
