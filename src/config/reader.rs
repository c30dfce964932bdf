//! Takes variables one by one, and gathers what is wrong with them.

use std::collections::BTreeMap;
use std::env;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{PREFIXES, SECRETS, SettingsError, SettingsFault, all, to_usize};

/// A variable and its default.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextSetting {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
}

/// A variable that holds a whole number.
#[derive(Clone, Debug)]
pub(super) struct NumberSetting {
    pub(super) setting: TextSetting,
    range: RangeInclusive<u64>,
}

impl NumberSetting {
    pub(super) const fn new(name: &'static str, default: &'static str, range: RangeInclusive<u64>) -> Self {
        Self { setting: TextSetting { name, default }, range }
    }
}

/// A variable that holds one of a few words.
pub(super) struct ChoiceSetting<T: 'static> {
    pub(super) setting: TextSetting,
    /// The first stands in where the word is wrong.
    pub(super) values: &'static [(&'static str, T)],
}

/// The process's environment on top of the `.env` file, which may be missing.
pub(super) fn environment() -> Result<Vec<(String, String)>, SettingsError> {
    let broken = |reason: &str| SettingsError(vec![SettingsFault { name: ".env".into(), reason: reason.into() }]);
    let mut vars = Vec::new();
    match dotenvy::dotenv_iter() {
        Ok(lines) => {
            for (index, line) in lines.enumerate() {
                // The error would show the line, and with it a password.
                vars.push(line.map_err(|_| broken(&format!("the {}. assignment cannot be read", index + 1)))?);
            }
        }
        Err(error) if error.not_found() => {}
        Err(_) => return Err(broken("cannot be read")),
    }
    let mut faults = Vec::new();
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => vars.push((name, value)),
            Err(_) if is_ours(&name) => faults.push(SettingsFault { name, reason: "must be UTF-8".into() }),
            Err(_) => {}
        }
    }
    if faults.is_empty() { Ok(vars) } else { Err(SettingsError(faults)) }
}

fn is_ours(name: &str) -> bool {
    is_known(name) || PREFIXES.iter().chain(&super::edge::PREFIXES).any(|prefix| name.starts_with(prefix))
}

fn is_known(name: &str) -> bool {
    all().any(|setting| setting.name == name)
}

/// Variables that are still to be read, and the faults found so far.
pub(super) struct SettingsReader {
    vars: BTreeMap<String, String>,
    faults: Vec<SettingsFault>,
}

impl SettingsReader {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut ours = BTreeMap::new();
        for (name, value) in vars {
            if is_ours(&name) {
                ours.insert(name, value.trim().to_owned());
            }
        }
        ours.retain(|_, value| !value.is_empty());
        let mut reader = Self { vars: ours, faults: Vec::new() };
        reader.read_files();
        reader
    }

    /// Puts what stands in the files of secrets in place of their names.
    fn read_files(&mut self) {
        let names: Vec<String> = self.vars.keys().filter(|name| secret_of(name).is_some()).cloned().collect();
        for name in names {
            let (Some(path), Some(secret)) = (self.vars.remove(&name), secret_of(&name)) else { continue };
            let text = match read_file(&path) {
                _ if self.vars.contains_key(secret) => Err(format!("is set, and so is {secret}: which one counts?")),
                Ok(text) if text.trim().is_empty() => Err("names an empty file".to_owned()),
                Ok(text) => Ok(text.trim().to_owned()),
                Err(error) => Err(format!("names a file that cannot be read: {error}")),
            };
            match text {
                Ok(text) => {
                    self.vars.insert(secret.to_owned(), text);
                }
                Err(reason) => self.fault(&name, reason),
            }
        }
    }

    /// True if the variable is still to be read.
    pub(super) fn has(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    pub(super) fn fault(&mut self, name: &str, reason: impl Into<String>) {
        self.faults.push(SettingsFault { name: name.to_owned(), reason: reason.into() });
    }

    /// The variables `SHARD_<number>_URL`, by number.
    pub(super) fn take_shard_urls(&mut self) -> BTreeMap<u32, String> {
        self.take_numbered("_URL")
    }

    /// The variables `SHARD_<number>_REPLICA_URLS`, by number.
    pub(super) fn take_replica_urls(&mut self) -> BTreeMap<u32, String> {
        self.take_numbered("_REPLICA_URLS")
    }

    /// The variables `SHARD_<number>_SPARE_URL`, by number.
    pub(super) fn take_spare_urls(&mut self) -> BTreeMap<u32, String> {
        self.take_numbered("_SPARE_URL")
    }

    fn take_numbered(&mut self, ending: &str) -> BTreeMap<u32, String> {
        let mut urls = BTreeMap::new();
        self.vars.retain(|name, value| match shard_number(name, ending) {
            Some(number) => {
                urls.insert(number, std::mem::take(value));
                false
            }
            None => true,
        });
        urls
    }

    /// The value that `parse` makes of a variable; where that fails, what it makes of the default.
    pub(super) fn parsed<T: Default>(
        &mut self,
        setting: &TextSetting,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> T {
        if let Some(text) = self.vars.remove(setting.name) {
            match parse(&text) {
                Ok(value) => return value,
                Err(reason) => self.fault(setting.name, reason),
            }
        }
        parse(setting.default).unwrap_or_default()
    }

    pub(super) fn choice<T: Copy>(&mut self, choice: &ChoiceSetting<T>) -> T {
        let name = choice.setting.name;
        let text = self.vars.remove(name).unwrap_or_else(|| choice.setting.default.to_owned());
        if let Some((_, value)) = choice.values.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<_> = choice.values.iter().map(|(word, _)| *word).collect();
        self.fault(name, format!("must be {}", words.join(" or ")));
        #[expect(clippy::expect_used, reason = "a choice is a constant of this module and has values")]
        choice.values.first().expect("a choice has values").1
    }

    /// The number, or `None` if there is none or it is wrong.
    pub(super) fn optional(&mut self, number: &NumberSetting) -> Option<u64> {
        let text = self.vars.remove(number.setting.name)?;
        let value = text.parse().ok().filter(|value| number.range.contains(value));
        if value.is_none() {
            let (low, high) = (number.range.start(), number.range.end());
            self.fault(number.setting.name, format!("must be a whole number from {low} to {high}"));
        }
        value
    }

    pub(super) fn number(&mut self, number: &NumberSetting) -> u64 {
        self.optional(number).or_else(|| number.setting.default.parse().ok()).unwrap_or(*number.range.start())
    }

    pub(super) fn size(&mut self, number: &NumberSetting) -> usize {
        to_usize(self.number(number))
    }

    pub(super) fn millis(&mut self, number: &NumberSetting) -> Duration {
        Duration::from_millis(self.number(number))
    }

    /// The settings, unless something was wrong or is left over.
    pub(super) fn finish<T>(mut self, settings: T) -> Result<T, SettingsError> {
        for name in std::mem::take(&mut self.vars).into_keys().filter(|name| !is_orchestrators(name)) {
            let reason = match nearest(&name) {
                Some(known) => format!("unknown setting; did you mean {known}?"),
                None => "unknown setting; .env.example lists those there are".to_owned(),
            };
            self.fault(&name, reason);
        }
        if self.faults.is_empty() { Ok(settings) } else { Err(SettingsError(self.faults)) }
    }
}

/// True for the variables that say which shards there are.
pub(super) fn names_shards(name: &str) -> bool {
    name == super::shards::COUNT.name || is_shard_url(name.strip_suffix(FILE).unwrap_or(name))
}

/// The variables that hold URLs of shards, and with them passwords.
fn is_shard_url(name: &str) -> bool {
    ["_URL", "_REPLICA_URLS", "_SPARE_URL"].iter().any(|ending| shard_number(name, ending).is_some())
}

/// The ending of a variable that names the file of a secret.
pub(super) const FILE: &str = "_FILE";
/// The longest secret in a file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The secret whose file a variable names.
fn secret_of(name: &str) -> Option<&str> {
    let secret = name.strip_suffix(FILE)?;
    (SECRETS.contains(&secret) || is_shard_url(secret)).then_some(secret)
}

fn read_file(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn shard_number(name: &str, ending: &str) -> Option<u32> {
    let number = name.strip_prefix("SHARD_")?.strip_suffix(ending)?;
    let canonical = number == "0" || !number.starts_with('0');
    number.parse().ok().filter(|_| canonical && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Kubernetes and Docker links tell every container about a service named `shard-0` in variables such as
/// `SHARD_0_SERVICE_HOST` and `SHARD_0_PORT_5432_TCP`.
fn is_orchestrators(name: &str) -> bool {
    let rest =
        name.strip_prefix("SHARD_").map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_'));
    rest.is_some_and(|rest| rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_"))
}

/// The known name that is the fewest letters away, if it is near at all.
fn nearest(name: &str) -> Option<String> {
    let url = name.strip_prefix("SHARD_").map(|rest| {
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        let number = digits.parse::<u16>().unwrap_or_default();
        [format!("SHARD_{number}_URL"), format!("SHARD_{number}_REPLICA_URLS")]
    });
    let known = all().map(|setting| setting.name.to_owned()).chain(url.into_iter().flatten());
    let (distance, best) = known.map(|known| (distance(name, &known), known)).min()?;
    (distance <= name.len() / 2).then_some(best)
}

/// Levenshtein's distance: letters to put in, take out or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let replace = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replace.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
