//! The broker, NATS `JetStream`. Only this file speaks NATS.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_nats::connection::State;
use async_nats::jetstream::context::{
    Context, ContextBuilder, CreateStreamErrorKind, GetStreamByNameErrorKind, PublishAckFuture, PublishError,
    PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, stream};
use async_nats::{ConnectOptions, Event as Connection};
use tokio::sync::OnceCell;

use super::event::OutgoingEvent;
use super::settings::{EventSettings, EventsUrl};

/// How long the broker may take to acknowledge an event.
const ACK_LIMIT: Duration = Duration::from_secs(2);
/// How long the broker remembers the ids of events, and drops a repeated one.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Why an event is not published yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokerError {
    /// The broker does not answer: every event waits.
    #[error("{0}")]
    Unreachable(String),
    /// The broker answers, but refuses this event: no stream takes the subject, or the stream is full.
    #[error("{0}")]
    Refused(String),
    /// No acknowledgement came in time. Either the broker is away, or no stream takes the subject while another
    /// client listens to the subject.
    #[error("there was no acknowledgement in time")]
    Unacknowledged,
}

impl BrokerError {
    fn unreachable(error: impl std::fmt::Display) -> Self {
        Self::Unreachable(error.to_string())
    }

    fn from_publish_error(error: &PublishError) -> Self {
        // The server's own verdict on the message.
        let answer = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        match (error.kind(), answer) {
            (PublishErrorKind::StreamNotFound, _) => Self::Refused("no stream takes the subject".to_owned()),
            (PublishErrorKind::TimedOut, _) => Self::Unacknowledged,
            (_, Some(answer)) => Self::Refused(answer.to_string()),
            (PublishErrorKind::MaxPayloadExceeded, None) => Self::Refused(error.to_string()),
            _ => Self::unreachable(error),
        }
    }
}

/// The broker; all shards share one.
pub(super) struct EventBroker {
    url: EventsUrl,
    ca_file: Option<PathBuf>,
    subject: String,
    /// Created at the first use. The client then connects and reconnects by itself.
    context: OnceCell<Context>,
    has_stream: Arc<AtomicBool>,
    /// Why the last connection failed.
    connection_error: Arc<ArcSwapOption<String>>,
}

impl EventBroker {
    /// A broker client without a connection; the first event opens the connection.
    pub(super) fn new(url: &EventsUrl, settings: &EventSettings) -> Self {
        Self {
            url: url.clone(),
            ca_file: settings.ca_file.clone(),
            subject: settings.subject.clone(),
            context: OnceCell::new(),
            has_stream: Arc::default(),
            connection_error: Arc::default(),
        }
    }

    async fn stream_context(&self) -> Result<&Context, BrokerError> {
        let connect = async || {
            let client = self.connect_options().connect(self.url.address()).await.map_err(BrokerError::unreachable)?;
            Ok(ContextBuilder::new().timeout(ACK_LIMIT).ack_timeout(ACK_LIMIT).build(client))
        };
        tokio::time::timeout(ACK_LIMIT, self.context.get_or_try_init(connect))
            .await
            .map_err(BrokerError::unreachable)?
    }

    fn connect_options(&self) -> ConnectOptions {
        let (has_stream, refusal) = (Arc::clone(&self.has_stream), Arc::clone(&self.connection_error));
        let options = ConnectOptions::new().name("shardrive").event_callback(move |event| {
            match &event {
                // A server that comes back may have lost its disk.
                Connection::Connected => {
                    has_stream.store(false, Ordering::Relaxed);
                    refusal.store(None);
                }
                Connection::ClientError(error) => refusal.store(Some(Arc::new(error.to_string()))),
                Connection::ServerError(error) => refusal.store(Some(Arc::new(error.to_string()))),
                _ => {}
            }
            // The relays report an unreachable broker.
            async move { log::debug!("events: {event}") }
        });
        let options = self.url.sign_in(options);
        match &self.ca_file {
            Some(file) => options.add_root_certificates(file.clone()),
            None => options,
        }
    }

    /// The stream may be gone or changed: the next [`EventBroker::ensure_stream`] looks again.
    pub(super) fn recheck_stream(&self) {
        self.has_stream.store(false, Ordering::Relaxed);
    }

    /// The subject of an event on the broker.
    pub(super) fn subject_of(&self, topic: &str) -> String {
        format!("{}.{topic}", self.subject)
    }

    /// Ensures that a stream takes the events. An existing stream stays as it is.
    pub(super) async fn ensure_stream(&self) -> Result<(), BrokerError> {
        let context = self.stream_context().await?;
        // Without this check, messages sent during an outage would pile up in the client, once for each try.
        if context.client().connection_state() != State::Connected {
            let why = self.connection_error.load().as_ref().map(|why| format!(": {why}"));
            return Err(BrokerError::Unreachable(format!("there is no connection{}", why.unwrap_or_default())));
        }
        if self.has_stream.load(Ordering::Relaxed) {
            return Ok(());
        }
        let all = format!("{}.>", self.subject);
        let there = tokio::time::timeout(ACK_LIMIT, context.stream_by_subject(all.clone())).await;
        if there.map_err(BrokerError::unreachable)?.is_err() {
            let config = stream::Config {
                name: self.subject.replace('.', "_"),
                subjects: vec![all],
                duplicate_window: DUPLICATE_WINDOW,
                ..stream::Config::default()
            };
            let made = tokio::time::timeout(ACK_LIMIT, context.get_or_create_stream(config)).await;
            match made.map_err(BrokerError::unreachable)? {
                // Streams of others may take some of the subjects, or the number of streams may be limited. Then each
                // event shows whether a stream takes it.
                Err(error) if matches!(error.kind(), CreateStreamErrorKind::JetStream(_)) => {
                    log::debug!("no stream for all events was made: {error}");
                }
                made => made.map(drop).map_err(BrokerError::unreachable)?,
            }
        }
        self.has_stream.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Sends an event. The returned future ends when the broker has the event on its disk.
    pub(super) async fn send_event(&self, event: &OutgoingEvent) -> Result<PublishAckFuture, BrokerError> {
        let payload = serde_json::to_vec(event).map_err(BrokerError::unreachable)?;
        let message = PublishMessage::build()
            .message_id(&event.id)
            .header("Content-Type", "application/cloudevents+json")
            .payload(payload.into());
        let sending = self.stream_context().await?.send_publish(self.subject_of(event.topic()), message);
        let sent = tokio::time::timeout(ACK_LIMIT, sending).await.map_err(BrokerError::unreachable)?;
        sent.map_err(|error| BrokerError::from_publish_error(&error))
    }

    /// True if the broker answers questions about streams. Then the broker is not the reason for a missing
    /// acknowledgement.
    pub(super) async fn is_answering(&self) -> bool {
        let Ok(context) = self.stream_context().await else { return false };
        // The question of `ensure_stream`, which brokers of every release understand.
        let looking = context.stream_by_subject(format!("{}.>", self.subject));
        match tokio::time::timeout(ACK_LIMIT, looking).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == GetStreamByNameErrorKind::NotFound,
            Err(_) => false,
        }
    }

    /// Waits until the broker has stored the event.
    pub(super) async fn wait_for_ack(&self, sent: PublishAckFuture) -> Result<(), BrokerError> {
        let acknowledged = tokio::time::timeout(ACK_LIMIT, sent).await.map_err(|_| BrokerError::Unacknowledged)?;
        acknowledged.map(drop).map_err(|error| {
            // Without a stream for the event, the relay looks for a stream at the next try.
            if error.kind() != PublishErrorKind::StreamNotFound {
                self.recheck_stream();
            }
            BrokerError::from_publish_error(&error)
        })
    }
}
