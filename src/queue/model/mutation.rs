//! Bugs that can be planted in the naive twin: one that goes unnoticed is a place where the comparison is blind.

/// Makes the list and the enum of one table, so that none is forgotten.
macro_rules! mutations {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// A bug planted in the twin.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[$doc])+ $name,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &[Mutation] = &[$(Mutation::$name,)+];
        }
    };
}

mutations! {
    /// A requeued message goes to the end of the queue.
    RequeueAtTail,
    /// Messages expire only at the head of the queue.
    ExpireAtHeadOnly,
    /// A consumer that was served is served again before the others.
    RoundRestarts,
    /// The newest message is dropped from a full queue.
    DropTail,
    /// A message that comes back is not counted.
    ReturnsNotCounted,
    /// A consumer may hold one message more than its prefetch.
    PrefetchPlusOne,
    /// Consumers are served whatever their priority.
    ConsumerPriorityIgnored,
    /// The single active consumer hands over while it still holds messages.
    HastyHandOver,
    /// A requeued message gets a new time to live.
    RequeueRenewsExpiry,
    /// A message without a priority has priority 0 in every queue.
    DefaultPriorityIgnored,
    /// A consumer with a late message loses all it holds.
    LateTakesAll,
    /// A late message still counts for its consumer's channel.
    LateKeepsChannelPlace,
    /// A release counts for the delivery limit.
    ReleaseCounts,
    /// A message waits as long the second time as the first time.
    RetryNotDoubled,
    /// All that came back together are ready again together.
    RetryNotSpread,
    /// A message does not expire while it is delayed.
    DelayedOutlivesTtl,
    /// A delayed message does not count for the maximum length.
    DelayedNotCounted,
    /// The key of a refused message is remembered.
    RefusedIsSeen,
    /// A duplicate makes its key stay longer.
    DuplicateRenewsKey,
    /// What an operator moves here may be a duplicate.
    MovedIsDuplicate,
    /// What an operator moves here dies if there is no room.
    RefusedMoveDies,
    /// What is put back may be a duplicate.
    PutBackIsDuplicate,
    /// What is put back is refused if there is no room.
    PutBackIsRefused,
    /// A shorter time to live is for new messages only.
    TtlForNewOnly,
    /// A restart gives messages a new time to live.
    RestartRenewsTtl,
    /// A restart forgets how often a message came back.
    RestartForgetsReturns,
    /// A restart makes delayed messages ready.
    RestartEndsDelays,
    /// Transient messages outlive a restart.
    RestartKeepsTransient,
    /// A paused queue still answers a `get`.
    PausedGets,
    /// A paused queue still gives to consumers.
    PausedGives,
    /// What is taken out is not told the journal.
    TakenNotSettled,
    /// What is past its deadline can still be seen.
    ExpiredIsSeen,
}
