//! A strict reader of OpenMetrics 1.0 text: what the format forbids is a fault.

use std::collections::BTreeMap;

/// What a text says.
#[derive(Default)]
pub struct OpenMetrics {
    /// The samples by their name with labels.
    pub samples: BTreeMap<String, f64>,
    /// The exemplars by the name with labels of their samples: the trace and the value.
    pub exemplars: BTreeMap<String, (String, f64)>,
}

/// The family that is being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    /// The last bucket: the labels besides the bound, the bound, and the count.
    bucket: Option<(String, f64, f64)>,
}

impl OpenMetrics {
    /// Reads a text; the fault names its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
        let (mut read, mut families) = (Self::default(), Vec::<String>::new());
        let mut family = Family::default();
        for line in body.lines() {
            let fault = |why: &str| format!("{why}: {line}");
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (Some(word), Some(name), Some(said)) = (words.next(), words.next(), words.next()) else {
                    return Err(fault("too short"));
                };
                if name != family.name {
                    if families.iter().any(|known| known == name) {
                        return Err(fault("its family was there before"));
                    }
                    families.push(name.to_owned());
                    family = Family { name: name.to_owned(), ..Family::default() };
                }
                match word {
                    "HELP" if !said.contains('"') => {}
                    "TYPE" if family.kind.is_empty() => family.kind = said.to_owned(),
                    "UNIT" if name.ends_with(&format!("_{said}")) => {}
                    _ => return Err(fault("a wrong line of metadata")),
                }
                continue;
            }
            let (sample, exemplar) = line.split_once(" # ").map_or((line, None), |(sample, rest)| (sample, Some(rest)));
            let (key, value) = sample.rsplit_once(' ').ok_or_else(|| fault("no value"))?;
            let value: f64 = value.parse().map_err(|_| fault("no number"))?;
            family.check_sample(key, value).map_err(fault)?;
            if let Some(exemplar) = exemplar {
                let found = parse_exemplar(exemplar).filter(|_| key.contains("_bucket{"));
                read.exemplars.insert(key.to_owned(), found.ok_or_else(|| fault("a wrong exemplar"))?);
            }
            if read.samples.insert(key.to_owned(), value).is_some() {
                return Err(fault("there twice"));
            }
        }
        Ok(read)
    }
}

impl Family {
    /// Checks that a sample may stand in this family, and its buckets.
    fn check_sample(&mut self, key: &str, value: f64) -> Result<(), &'static str> {
        let name = key.split('{').next().unwrap_or_default();
        let ending = name.strip_prefix(&self.name).ok_or("not of its family")?;
        match (self.kind.as_str(), ending) {
            ("counter", "_total") | ("gauge" | "unknown", "") | ("histogram", "_sum") => Ok(()),
            ("histogram", "_bucket") => self.check_bucket(key, value),
            ("histogram", "_count") => match self.bucket.take() {
                Some((_, bound, count)) if bound.is_infinite() && count.total_cmp(&value).is_eq() => Ok(()),
                _ => Err("not the count of the bucket +Inf before"),
            },
            _ => Err("an ending that its type has not"),
        }
    }

    fn check_bucket(&mut self, key: &str, count: f64) -> Result<(), &'static str> {
        let (labels, bound) = key.rsplit_once("le=\"").ok_or("no bound")?;
        let bound = bound.strip_suffix("\"}").ok_or("the bound is not the last label")?;
        let number: f64 = bound.parse().map_err(|_| "a bound without a number")?;
        if bound != "+Inf" && bound != format!("{number:?}") {
            return Err("a bound in another form than 1.0");
        }
        if let Some((before, last, lower)) = &self.bucket
            && before == labels
            && (*last >= number || *lower > count)
        {
            return Err("bounds and counts must grow");
        }
        self.bucket = Some((labels.to_owned(), number, count));
        Ok(())
    }
}

/// `{trace_id="…"} value time`.
fn parse_exemplar(text: &str) -> Option<(String, f64)> {
    let (trace, rest) = text.strip_prefix("{trace_id=\"")?.split_once("\"} ")?;
    let is_trace = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (value, time) = rest.split_once(' ')?;
    (is_trace && time.parse::<f64>().ok()? > 0.0).then_some((trace.to_owned(), value.parse().ok()?))
}

#[test]
fn faults_of_a_text_are_found() {
    let trace = "ab".repeat(16);
    let good = format!(
        "# HELP a_seconds Times.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
         a_seconds_bucket{{le=\"1.0\"}} 1 # {{trace_id=\"{trace}\"}} 0.5 17.25\na_seconds_bucket{{le=\"+Inf\"}} 2\n\
         a_seconds_sum 3\na_seconds_count 2\n# TYPE b counter\nb_total{{c=\"d\"}} 5\n# EOF\n"
    );
    let read = OpenMetrics::parse(&good).unwrap();
    assert_eq!(read.samples[r#"b_total{c="d"}"#].to_string(), "5");
    assert_eq!(read.exemplars[r#"a_seconds_bucket{le="1.0"}"#], (trace, 0.5));
    for (wrong, instead) in [
        ("# EOF\n", ""),
        ("b_total", "b"),
        ("le=\"1.0\"", "le=\"1\""),
        ("a_seconds_count 2", "a_seconds_count 3"),
        ("le=\"1.0\"} 1", "le=\"1.0\"} 3"),
        ("# UNIT a_seconds seconds", "# UNIT a_seconds bytes"),
        ("# TYPE b counter", "# TYPE a_seconds counter"),
        ("b_total{c=\"d\"} 5", "b_total{c=\"d\"} 5\nb_total{c=\"d\"} 5"),
        ("b_total{c=\"d\"} 5", "b_total{c=\"d\"} five"),
        ("trace_id", "trace"),
    ] {
        assert!(good.contains(wrong), "{wrong}");
        assert!(OpenMetrics::parse(&good.replace(wrong, instead)).is_err(), "{wrong} → {instead}");
    }
}
