//! `EVENTS_*`: the broker that publishes changes.

use std::path::PathBuf;

use super::reader::SettingsReader;
use super::setting::{NumberSetting, TextSetting};
use crate::events::{EventSettings, EventsUrl};

const URL: TextSetting = TextSetting::new("EVENTS_URL", "").secret();
const CA_FILE: TextSetting = TextSetting::new("EVENTS_CA_FILE", "").protecting();
const SUBJECT: TextSetting = TextSetting::new("EVENTS_SUBJECT", "shardrive");
const MAX_ROWS: NumberSetting = NumberSetting::new("EVENTS_MAX_ROWS", "1000000", 1_000..=1_000_000_000);

pub(super) const ALL: [TextSetting; 4] = [URL, CA_FILE, SUBJECT, MAX_ROWS.setting];

pub(super) fn read(read: &mut SettingsReader) -> EventSettings {
    let url = read.parsed(&URL, |url| match url {
        "" => Ok(None),
        url => EventsUrl::parse(url).map(Some),
    });
    let ca_file = read.parsed(&CA_FILE, |file| match file {
        "" => Ok(None),
        file if std::fs::File::open(file).is_ok() => Ok(Some(PathBuf::from(file))),
        _ => Err("names a file that cannot be read"),
    });
    if ca_file.is_some() && !url.as_ref().is_some_and(EventsUrl::is_encrypted) {
        read.fault(&CA_FILE, "says nothing without a SHARDRIVE_EVENTS_URL that starts with tls://");
    }
    EventSettings {
        url,
        ca_file,
        subject: read.parsed(&SUBJECT, EventSettings::parse_subject),
        max_rows: read.number(&MAX_ROWS),
    }
}
