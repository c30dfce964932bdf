//! The dashboard's stream of events, read by a client without a browser.

use reqwest::Response;
use serde_json::Value;

use super::poll;

/// A stream of events, read as the events arrive.
pub struct Events {
    response: Response,
    text: String,
}

impl Events {
    pub fn from_response(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["content-encoding"], "identity");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (kind, data) = event.split_once('\n').unwrap();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                let found = (kind.strip_prefix("event: ").unwrap().to_owned(), data);
                self.text = rest.to_owned();
                return Some(found);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The first event of this kind for which `judge` returns a value.
    pub async fn wait_for_event<T>(&mut self, kind: &str, judge: impl Fn(&Value) -> Option<T>) -> T {
        let look = async {
            loop {
                let (found, data) = self.next().await.expect("the stream ended");
                if found == kind
                    && let Some(right) = judge(&data)
                {
                    return right;
                }
            }
        };
        tokio::time::timeout(poll::LIMIT, look).await.unwrap_or_else(|_| panic!("waited in vain for {kind}"))
    }
}
