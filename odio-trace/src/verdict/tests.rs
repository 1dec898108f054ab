//! Evidence, and the verdict on it.

use super::*;

fn overwrite(sync: Sync) -> Evidence {
    Evidence {
        kind: Kind::Write,
        sync,
        acknowledged: true,
        result: 4096,
        bios: 1,
        bio_bytes: 4096,
        fua: 0,
        preflush: 0,
        flushes: 0,
        fsyncs: 0,
        commits: 0,
        commits_barrier: false,
        buffered_bytes: 0,
        metadata: Metadata::Unchanged,
        place: Place {
            fs: Some("ext4".into()),
            block_device: false,
            read_only: false,
            volatile_cache: Some(true),
        },
        watched: Watched::all_but(&[]),
    }
}

fn durability(e: &Evidence) -> Option<Durability> {
    judge(e).0
}

#[test]
fn plain_direct_overwrite_is_in_the_device_cache() {
    assert_eq!(
        durability(&overwrite(Sync::None)),
        Some(Durability::DeviceCache)
    );
}

#[test]
fn fua_on_every_bio_is_durable_and_on_some_is_not() {
    let all = Evidence {
        bios: 2,
        bio_bytes: 8192,
        result: 8192,
        fua: 2,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(durability(&all), Some(Durability::Durable));
    assert_eq!(
        durability(&Evidence { fua: 1, ..all }),
        Some(Durability::DeviceCache)
    );
}

#[test]
fn fua_does_not_cover_changed_metadata() {
    for metadata in [Metadata::Size, Metadata::Extents, Metadata::Cow] {
        let e = Evidence {
            fua: 1,
            metadata,
            ..overwrite(Sync::Dsync)
        };
        assert_eq!(durability(&e), Some(Durability::Uncommitted));
    }
    let unseen = Evidence {
        fua: 1,
        metadata: Metadata::Unseen,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(durability(&unseen), Some(Durability::Unknown));
}

#[test]
fn fua_on_btrfs_proves_nothing() {
    let mut e = Evidence {
        fua: 1,
        ..overwrite(Sync::Dsync)
    };
    e.place.fs = Some("btrfs".into());
    assert_ne!(durability(&e), Some(Durability::Durable));
}

#[test]
fn a_commit_without_a_barrier_proves_nothing_on_a_volatile_cache() {
    let committed = Evidence {
        fsyncs: 1,
        commits: 1,
        commits_barrier: true,
        metadata: Metadata::Size,
        ..overwrite(Sync::Sync)
    };
    assert_eq!(durability(&committed), Some(Durability::Durable));
    assert_eq!(
        durability(&Evidence {
            commits_barrier: false,
            ..committed
        }),
        Some(Durability::Unknown)
    );
}

#[test]
fn an_fsync_without_flush_or_commit_leaves_the_data_in_the_cache() {
    let e = Evidence {
        fsyncs: 1,
        ..overwrite(Sync::Sync)
    };
    assert_eq!(durability(&e), Some(Durability::DeviceCache));
    assert_eq!(
        durability(&Evidence { flushes: 1, ..e }),
        Some(Durability::Durable)
    );
}

#[test]
fn bytes_that_no_bio_carried_are_not_vouched_for() {
    let e = Evidence {
        bio_bytes: 512,
        fua: 1,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(durability(&e), Some(Durability::Unknown));
}

#[test]
fn buffered_writes_stay_in_the_page_cache() {
    let e = Evidence {
        bios: 0,
        bio_bytes: 0,
        buffered_bytes: 4096,
        ..overwrite(Sync::None)
    };
    assert_eq!(durability(&e), Some(Durability::PageCache));
}

#[test]
fn reads_and_failures_have_no_durability() {
    assert_eq!(
        durability(&Evidence {
            kind: Kind::Read,
            ..overwrite(Sync::None)
        }),
        None
    );
    assert_eq!(
        durability(&Evidence {
            result: -22,
            fsyncs: 1,
            ..overwrite(Sync::Sync)
        }),
        None
    );
}

/// An fsync that found nothing to commit.
fn fsync() -> Evidence {
    Evidence {
        kind: Kind::Sync,
        fsyncs: 1,
        result: 0,
        bios: 0,
        bio_bytes: 0,
        ..overwrite(Sync::None)
    }
}

fn without(hooks: &[Hook], e: Evidence) -> Option<Durability> {
    durability(&Evidence {
        watched: Watched::all_but(hooks),
        ..e
    })
}

#[test]
fn an_end_that_was_missed_proves_nothing() {
    for e in [
        overwrite(Sync::None),
        Evidence {
            fua: 1,
            ..overwrite(Sync::Dsync)
        },
        Evidence {
            flushes: 1,
            ..fsync()
        },
    ] {
        let missed = Evidence {
            acknowledged: false,
            ..e
        };
        assert_eq!(durability(&missed), Some(Durability::Unknown));
    }
}

#[test]
fn a_failed_fsync_says_what_it_means() {
    let failed = Evidence {
        result: -5,
        flushes: 1,
        ..fsync()
    };
    let (durability, why) = judge(&failed);
    assert_eq!(durability, None);
    assert_eq!(why, "failed: what was written before may be lost");
}

#[test]
fn a_short_write_answers_for_what_it_moved() {
    let short = Evidence {
        result: 512,
        bio_bytes: 512,
        fua: 1,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(durability(&short), Some(Durability::Durable));
    assert_eq!(
        durability(&Evidence { result: 0, ..short }),
        None,
        "no byte was acknowledged"
    );
}

#[test]
fn without_bios_nothing_is_known() {
    let copied = Evidence {
        bios: 0,
        bio_bytes: 0,
        buffered_bytes: 4096,
        ..overwrite(Sync::None)
    };
    assert_eq!(durability(&copied), Some(Durability::PageCache));
    assert_eq!(
        without(&[Hook::BioSubmit], copied),
        Some(Durability::Unknown)
    );
    assert_eq!(
        without(&[Hook::BioSubmit], fsync()),
        Some(Durability::Unknown)
    );
}

#[test]
fn a_copy_in_part_is_in_the_page_cache() {
    let in_part = Evidence {
        result: 8192,
        bio_bytes: 4096,
        buffered_bytes: 4096,
        metadata: Metadata::Unseen,
        ..overwrite(Sync::None)
    };
    assert_eq!(durability(&in_part), Some(Durability::PageCache));
}

#[test]
fn a_sync_write_without_an_fsync_that_could_be_seen() {
    let blind = [Hook::VfsFsync, Hook::FsFsync];
    for metadata in [Metadata::Unchanged, Metadata::Size] {
        let e = Evidence {
            metadata,
            ..overwrite(Sync::Sync)
        };
        assert_eq!(without(&blind, e.clone()), Some(Durability::Unknown));
        assert_ne!(without(&blind[..1], e.clone()), Some(Durability::Unknown));
        assert_ne!(without(&[], e), Some(Durability::Unknown));
    }
    // xfs_file_fsync is probed only where its module was loaded; vfs_fsync_range stands in for it.
    let mut xfs = overwrite(Sync::Sync);
    xfs.place.fs = Some("xfs".into());
    assert_eq!(without(&blind[..1], xfs.clone()), Some(Durability::Unknown));
    assert_eq!(without(&blind[1..], xfs), Some(Durability::DeviceCache));
    // What needs no fsync does not wait for one.
    let fua = Evidence {
        fua: 1,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(without(&blind, fua), Some(Durability::Durable));
}

#[test]
fn an_fsync_whose_commit_could_not_be_seen() {
    let no_cache = |e: Evidence| Evidence {
        place: Place {
            volatile_cache: Some(false),
            ..e.place
        },
        ..e
    };
    let blind = [Hook::CommitWait];
    assert_eq!(durability(&fsync()), Some(Durability::DeviceCache));
    assert_eq!(without(&blind, fsync()), Some(Durability::Unknown));
    assert_eq!(durability(&no_cache(fsync())), Some(Durability::Durable));
    assert_eq!(
        without(&blind, no_cache(fsync())),
        Some(Durability::Unknown)
    );
    // A flush at the end covers both.
    let flushed = Evidence {
        flushes: 1,
        ..fsync()
    };
    assert_eq!(without(&blind, flushed), Some(Durability::Durable));
}

#[test]
fn an_fsync_on_a_read_only_mount_proves_nothing() {
    for volatile_cache in [Some(true), Some(false), None] {
        let mut e = fsync();
        e.place.read_only = true;
        e.place.volatile_cache = volatile_cache;
        assert_eq!(durability(&e), Some(Durability::Unknown));
    }
}

#[test]
fn a_fast_commit_is_not_taken_for_no_commit() {
    let e = Evidence {
        bios: 1,
        bio_bytes: 4096,
        fua: 1,
        preflush: 1,
        ..fsync()
    };
    assert_eq!(durability(&e), Some(Durability::Unknown));
}

#[test]
fn filesystems_whose_fsync_is_not_watched_are_unknown() {
    for fs in [Some("xfs"), Some("btrfs"), None] {
        let mut e = Evidence {
            flushes: 1,
            ..fsync()
        };
        e.place.fs = fs.map(Into::into);
        assert_eq!(durability(&e), Some(Durability::Unknown), "{fs:?}");
    }
}
