//! How a value becomes bytes for the cache and comes back. The cache itself knows no file and no record.

/// Turns the values of one kind into bytes and back.
pub trait ValueCodec: Sync {
    /// What is cached.
    type Value: Send;

    /// The value as bytes, with a version in front so that another release knows whether it can read them.
    fn encode(&self, value: &Self::Value) -> Vec<u8>;

    /// The value in these bytes. `None` if they do not answer this question: another release wrote them, or they hold
    /// less than is asked for. The value is then read from the database, and takes the place of the old one.
    fn decode(&self, bytes: &[u8]) -> Option<Self::Value>;

    /// True if the value says that there is nothing. It is kept for a shorter time: what people look for in vain is
    /// often about to be made, perhaps by hand.
    fn is_absence(&self, _value: &Self::Value) -> bool {
        false
    }
}
