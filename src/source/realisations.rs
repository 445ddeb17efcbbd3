//! Which outputs of content-addressed derivations a store's database knows.
//!
//! The tables are there only where the experimental feature `ca-derivations` was on: `Realisations` and
//! `RealisationsRefs` of Nix up to 2.34, `BuildTraceV3` from 2.35 on. A store that was used by both has
//! both, and what is in either is told. A row that makes no sense is passed over with a line in the log:
//! a cache without a realisation only makes somebody build.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::{Connection, Row};

use crate::nix::{
    realisation::{Output, Realisation},
    store_path::{StoreDir, StorePath},
};

/// Returns the realisations whose paths are among `paths`, in the order of their rows.
pub(super) fn realisations(
    connection: &Connection,
    store_dir: &StoreDir,
    paths: &[StorePath],
) -> rusqlite::Result<Vec<Realisation>> {
    let wanted: HashSet<&StorePath> = paths.iter().collect();
    let mut found = Vec::new();
    if has_table(connection, "Realisations")? {
        found.extend(hashed(connection, store_dir, &wanted)?);
    }
    if has_table(connection, "BuildTraceV3")? {
        found.extend(named(connection, store_dir, &wanted)?);
    }
    Ok(found)
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    connection.query_row(sql, [name], |row| row.get(0))
}

/// A row of either table.
struct Found {
    id: i64,
    of: String,
    output: String,
    path: String,
    signatures: Option<String>,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            of: row.get(1)?,
            output: row.get(2)?,
            path: row.get(3)?,
            signatures: row.get(4)?,
        })
    }

    fn signatures(&self) -> BTreeSet<crate::nix::signature::Signature> {
        let texts = self.signatures.as_deref().unwrap_or_default();
        let texts = texts.split_ascii_whitespace();
        texts.filter_map(|text| text.parse().ok()).collect()
    }
}

fn hashed(
    connection: &Connection,
    store_dir: &StoreDir,
    wanted: &HashSet<&StorePath>,
) -> rusqlite::Result<Vec<Realisation>> {
    let mut all = connection.prepare(
        "SELECT r.id, r.drvPath, r.outputName, v.path, r.signatures
         FROM Realisations r JOIN ValidPaths v ON v.id = r.outputPath ORDER BY r.id",
    )?;
    let mut referred = connection.prepare(
        "SELECT d.id, d.drvPath, d.outputName, v.path, d.signatures
         FROM RealisationsRefs f JOIN Realisations d ON d.id = f.realisationReference
         JOIN ValidPaths v ON v.id = d.outputPath WHERE f.referrer = ?1",
    )?;
    let mut realisations = Vec::new();
    let rows = all.query_map([], Found::read)?;
    for row in rows {
        let row = row?;
        let Some(out_path) = understood(store_dir, &row.path).filter(|path| wanted.contains(path))
        else {
            continue;
        };
        let mut dependents = BTreeMap::new();
        for dependent in referred.query_map([row.id], Found::read)? {
            let dependent = dependent?;
            if let Some(path) = understood(store_dir, &dependent.path) {
                dependents.insert(format!("{}!{}", dependent.of, dependent.output), path);
            }
        }
        realisations.push(Realisation {
            of: Output::Hashed {
                id: format!("{}!{}", row.of, row.output),
                dependents,
            },
            out_path,
            signatures: row.signatures(),
        });
    }
    Ok(realisations)
}

fn named(
    connection: &Connection,
    store_dir: &StoreDir,
    wanted: &HashSet<&StorePath>,
) -> rusqlite::Result<Vec<Realisation>> {
    let mut all = connection.prepare(
        "SELECT id, drvPath, outputName, outputPath, signatures FROM BuildTraceV3 ORDER BY id",
    )?;
    let mut realisations = Vec::new();
    for row in all.query_map([], Found::read)? {
        let row = row?;
        let out_path = understood(store_dir, &row.path).filter(|path| wanted.contains(path));
        let (Some(out_path), Some(derivation)) = (out_path, understood(store_dir, &row.of)) else {
            continue;
        };
        let signatures = row.signatures();
        realisations.push(Realisation {
            of: Output::Named {
                derivation,
                output: row.output,
            },
            out_path,
            signatures,
        });
    }
    Ok(realisations)
}

/// Reads a store path, in full or as a base name.
fn understood(store_dir: &StoreDir, text: &str) -> Option<StorePath> {
    let path = if text.starts_with('/') {
        store_dir.parse_path(text).ok()
    } else {
        text.parse().ok()
    };
    if path.is_none() {
        tracing::debug!(text, "a realisation of what is no store path");
    }
    path
}
