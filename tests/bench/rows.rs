//! The rows of the bulk cases, in every form in which they are loaded. The same number gives the same row.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::shards::SHARDS;

/// Files of each user: more than the page that `GET /query` asks for.
pub const FILES_PER_USER: u64 = 25;
/// Coprime with every number of users in use, so that a user's files are spread over the whole load.
const STEP: u64 = 999_983;

/// Files of each folder of a listing.
const FILES_PER_FOLDER: u64 = 100;
/// How many rows [`findable`] makes.
pub const FINDABLE: u64 = 400 * 100;

/// How many users a load of so many rows has.
pub fn users(rows: u64) -> u64 {
    rows / FILES_PER_USER
}

struct Row {
    user: u64,
    number: u64,
    size: u64,
}

fn row(index: u64, rows: u64) -> Row {
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Row {
        user: index.wrapping_mul(STEP) % users(rows),
        number: 100_000_000 + mixed % 900_000_000,
        size: mixed % 9_999_999,
    }
}

impl Row {
    fn write_json(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self { user, number, size } = self;
        writeln!(
            out,
            "{{\"user_id\":{user},\"file_name\":\"report-{number}.pdf\",\
             \"mime_type\":\"application/pdf\",\"size_bytes\":{size},\"modified_at\":\"2025-03-04T05:06:07Z\"}}"
        )
    }
}

/// One JSON object a line.
pub fn ndjson(path: &Path, rows: u64) -> Result<()> {
    write(path, |out| (0..rows).try_for_each(|index| row(index, rows).write_json(out)))
}

/// Comma-separated values with a header.
pub fn csv(path: &Path, rows: u64) -> Result<()> {
    write(path, |out| {
        writeln!(out, "user_id,file_name,mime_type,size_bytes,modified_at")?;
        (0..rows).try_for_each(|index| {
            let Row { user, number, size } = row(index, rows);
            writeln!(out, "{user},report-{number}.pdf,application/pdf,{size},2025-03-04T05:06:07Z")
        })
    })
}

/// The path and the size of an entry of a listing.
pub fn listed(index: u64, rows: u64) -> (String, u64) {
    (format!("Documents/{}/report-{index}.pdf", index / FILES_PER_FOLDER), row(index, rows).size)
}

/// What `rclone lsjson -R` prints of one user's drive.
pub fn lsjson(path: &Path, rows: u64) -> Result<()> {
    write(path, |out| {
        writeln!(out, "[")?;
        for index in 0..rows {
            let (path, size) = listed(index, rows);
            let comma = if index + 1 < rows { "," } else { "" };
            writeln!(
                out,
                "{{\"Path\":\"{path}\",\"Name\":\"report-{index}.pdf\",\"Size\":{size},\
                 \"MimeType\":\"application/pdf\",\"ModTime\":\"2025-03-04T05:06:07.000000000Z\",\"IsDir\":false}}{comma}"
            )?;
        }
        writeln!(out, "]")
    })
}

/// The same rows as [`ndjson`] for `COPY`, each shard's in a file of its own. `COPY` needs ids: `UUIDv7` ones that
/// count on from one to the next, as the service's do, so that the indexes grow at the same places.
pub fn copy(folder: &Path, rows: u64) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = (0..SHARDS).map(|shard| folder.join(format!("copy_{shard}"))).collect();
    for (shard, path) in (0_u64..).zip(&paths) {
        write(path, |out| {
            for index in 0..rows {
                let Row { user, number, size } = row(index, rows);
                if user % (SHARDS as u64) != shard {
                    continue;
                }
                // 100 rows in a millisecond, more or less as fast as they are loaded.
                let (millis, fraction) = (0x0199_0000_0000 + index / 100, index % 100 * 40);
                writeln!(
                    out,
                    "{user}\t{:08x}-{:04x}-7{fraction:03x}-8{:03x}-{:012x}\treport-{number}.pdf\t\
                     application/pdf\t\\N\t{size}\t2025-03-04T05:06:07Z",
                    millis >> 16,
                    millis & 0xffff,
                    number & 0xfff,
                    number
                )?;
            }
            Ok(())
        })?;
    }
    Ok(paths)
}

/// Files whose ids pgbench can put together. An id of ours names its slot by four hexadecimal digits; the slots here
/// are those whose digits are all decimal, from 1000 to 1399. All are the client's ids, in the form that the service
/// mints.
pub fn findable(path: &Path) -> Result<u64> {
    write(path, |out| {
        for digits in 1000..1400_u64 {
            let slot = u64::from_str_radix(&digits.to_string(), 16).unwrap_or_default();
            for number in 1000..1100_u64 {
                let user = slot + 5040 * (1 + number);
                writeln!(
                    out,
                    "{{\"user_id\":{user},\"file_id\":\"01900000-{number}-7000-8000-00{digits}5d4c1e\",\
                     \"file_name\":\"report-100{digits}{number}.pdf\",\
                     \"mime_type\":\"application/pdf\",\"size_bytes\":{user},\"modified_at\":\"2025-03-04T05:06:07Z\"}}"
                )?;
            }
        }
        Ok(())
    })?;
    Ok(FINDABLE)
}

/// One user's drive, line by line.
pub fn drive(out: &mut impl Write, user: u64, rows: u64) -> Result<()> {
    for index in 0..rows {
        let Row { number, size, .. } = row(index, rows.max(FILES_PER_USER));
        Row { user, number, size }.write_json(out)?;
    }
    Ok(())
}

/// One user's tree: so many folders, each with as many files, line by line.
pub fn tree(out: &mut impl Write, user: u64, folders: u64, files: u64) -> Result<()> {
    for index in 0..files {
        let (folder, size) = (index % folders, index);
        writeln!(
            out,
            "{{\"user_id\":{user},\"file_name\":\"report-{index}.pdf\",\"path\":\"d{folder}/report-{index}.pdf\",\
             \"mime_type\":\"application/pdf\",\"size_bytes\":{size},\"modified_at\":\"2025-03-04T05:06:07Z\"}}"
        )?;
    }
    Ok(())
}

/// A body of at least so many bytes that leaves few rows behind: most lines lack a name and are rejected, after they
/// have been read in full; of the others all but the first thousand repeat an id and are duplicates. With rows that
/// are all new, the case would take an hour and measure the disk.
pub fn mostly_refused(out: &mut impl Write, bytes: u64) -> Result<u64> {
    let filler = "x".repeat(900);
    let (mut written, mut lines) = (0_u64, 0_u64);
    while written < bytes {
        let line = if lines.is_multiple_of(20) {
            let id = lines / 20 % 1000;
            // Without the mark of our ids, any user may have it.
            format!(
                "{{\"user_id\":{id},\"file_id\":\"01900000-0000-7000-8000-{id:012}\",\"file_name\":\"a.txt\",\"path\":\"{filler}/a.txt\"}}\n"
            )
        } else {
            format!("{{\"user_id\":{lines},\"file_name\":\"\",\"path\":\"{filler}\"}}\n")
        };
        out.write_all(line.as_bytes())?;
        written += line.len() as u64;
        lines += 1;
    }
    Ok(lines)
}

fn write(path: &Path, rows: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    rows(&mut out)?;
    out.flush()?;
    Ok(())
}
