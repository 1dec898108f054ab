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
        fua_issued: 0,
        preflush: 0,
        flushes: 0,
        fsyncs: 0,
        commits: 0,
        commits_barrier: false,
        flushed_last: false,
        supers: 0,
        supers_barrier: 0,
        buffered_bytes: 0,
        metadata: Metadata::Unchanged,
        device_there: Some(true),
        place: Place {
            fs: Some("ext4".into()),
            block_device: false,
            directory: Some(false),
            read_only: false,
            journal: Some(true),
            volatile_cache: Some(true),
            fua: Some(true),
            requests: Some(true),
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
fn an_fsync_of_xfs_without_a_flush_may_have_found_its_log_written() {
    let e = Evidence {
        fsyncs: 1,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(durability(&e), Some(Durability::DeviceCache));
    let xfs = Evidence {
        place: Place {
            fs: Some("xfs".into()),
            ..e.place.clone()
        },
        ..e
    };
    let (durability, why) = judge(&xfs);
    assert_eq!(durability, Some(Durability::Unknown));
    assert!(why.contains("had ended was not seen"), "{why}");
}

#[test]
fn what_a_device_had_in_its_page_cache_is_not_known_where_it_was_taken_away() {
    let kept = Evidence {
        kind: Kind::Sync,
        result: 0,
        bios: 0,
        bio_bytes: 0,
        fsyncs: 1,
        flushes: 1,
        flushed_last: true,
        ..overwrite(Sync::None)
    };
    let of = |fs: Option<&str>| Place {
        fs: fs.map(Into::into),
        block_device: fs.is_none(),
        ..kept.place.clone()
    };
    // A journal is written past the device's page cache, so its filesystem meets the error itself.
    for (fs, where_not_seen) in [
        (None, Durability::Unknown),
        (Some("ext4"), Durability::Durable),
    ] {
        for (device_there, expected) in [
            (Some(true), Durability::Durable),
            (Some(false), Durability::Unknown),
            (None, where_not_seen),
        ] {
            let e = Evidence {
                device_there,
                place: of(fs),
                ..kept.clone()
            };
            assert_eq!(durability(&e), Some(expected), "{fs:?} {device_there:?}");
        }
    }
}

#[test]
fn nothing_is_durable_where_there_is_no_storage() {
    for fs in ["tmpfs", "devtmpfs", "ramfs", "rootfs"] {
        let place = Place {
            fs: Some(fs.into()),
            volatile_cache: None,
            ..overwrite(Sync::Dsync).place
        };
        let copied = Evidence {
            bios: 0,
            bio_bytes: 0,
            buffered_bytes: 4096,
            place: place.clone(),
            ..overwrite(Sync::None)
        };
        let synced = Evidence {
            fsyncs: 1,
            sync: Sync::Dsync,
            ..copied.clone()
        };
        let fsync = Evidence {
            kind: Kind::Sync,
            result: 0,
            ..synced.clone()
        };
        for e in [copied, synced, fsync] {
            let (durability, why) = judge(&e);
            assert_eq!(durability, Some(Durability::PageCache), "{fs}");
            assert!(why.contains("no storage"), "{fs}: {why}");
        }
    }
}

#[test]
fn fua_on_every_bio_is_durable_and_on_some_is_not() {
    let all = Evidence {
        bios: 2,
        bio_bytes: 8192,
        result: 8192,
        fua: 2,
        fua_issued: 2,
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
            fua_issued: 1,
            metadata,
            ..overwrite(Sync::Dsync)
        };
        assert_eq!(durability(&e), Some(Durability::Uncommitted));
    }
    let unseen = Evidence {
        fua: 1,
        fua_issued: 1,
        metadata: Metadata::Unseen,
        ..overwrite(Sync::Dsync)
    };
    assert_eq!(durability(&unseen), Some(Durability::Unknown));
}

#[test]
fn fua_on_btrfs_proves_nothing() {
    let mut e = Evidence {
        fua: 1,
        fua_issued: 1,
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
        durability(&Evidence {
            flushes: 1,
            flushed_last: true,
            ..e
        }),
        Some(Durability::Durable)
    );
}

#[test]
fn bytes_that_no_bio_carried_are_not_vouched_for() {
    let e = Evidence {
        bio_bytes: 512,
        fua: 1,
        fua_issued: 1,
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
            fua_issued: 1,
            ..overwrite(Sync::Dsync)
        },
        Evidence {
            flushes: 1,
            flushed_last: true,
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
        flushed_last: true,
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
        fua_issued: 1,
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
        fua_issued: 1,
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
        flushed_last: true,
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
        fua_issued: 1,
        preflush: 1,
        ..fsync()
    };
    assert_eq!(durability(&e), Some(Durability::Unknown));
}

#[test]
fn filesystems_whose_fsync_is_not_watched_are_unknown() {
    for fs in [Some("f2fs"), Some("overlay"), None] {
        let mut e = Evidence {
            flushes: 1,
            flushed_last: true,
            ..fsync()
        };
        e.place.fs = fs.map(Into::into);
        assert_eq!(durability(&e), Some(Durability::Unknown), "{fs:?}");
    }
}

fn on(fs: &str, e: Evidence) -> Evidence {
    Evidence {
        place: Place {
            fs: Some(fs.into()),
            ..e.place
        },
        ..e
    }
}

fn cached(volatile_cache: Option<bool>, fua: Option<bool>, e: Evidence) -> Evidence {
    Evidence {
        place: Place {
            volatile_cache,
            fua,
            ..e.place
        },
        ..e
    }
}

fn issuing(requests: Option<bool>, e: Evidence) -> Evidence {
    Evidence {
        place: Place {
            requests,
            ..e.place
        },
        ..e
    }
}

fn unwatched(hooks: &[Hook], e: Evidence) -> Evidence {
    Evidence {
        watched: Watched::all_but(hooks),
        ..e
    }
}

fn of_what(directory: Option<bool>, e: Evidence) -> Evidence {
    Evidence {
        place: Place {
            directory,
            ..e.place
        },
        ..e
    }
}

/// Every rule of a table decides some evidence; the last column is a part of its reason.
fn each(cases: Vec<(Evidence, Durability, &str)>, table: &[Rule]) {
    for (e, expected, part) in &cases {
        let (seen, why) = judge(e);
        assert_eq!(seen, Some(*expected), "{why}\n{e:?}");
        assert!(why.contains(part), "{why}");
    }
    for rule in table {
        let decided = cases.iter().any(|(e, ..)| judge(e).1 == rule.why);
        assert!(decided, "no case for: {}", rule.why);
    }
}

#[test]
fn each_rule_of_a_write_without_fsync() {
    let write = || overwrite(Sync::Dsync);
    let fua = || Evidence {
        fua: 1,
        fua_issued: 1,
        ..write()
    };
    let dropped = || Evidence {
        fua_issued: 0,
        ..fua()
    };
    let meta = |metadata| Evidence { metadata, ..fua() };
    each(
        vec![
            (meta(Metadata::Unseen), Unknown, "was not seen"),
            (meta(Metadata::Size), Uncommitted, "size"),
            (meta(Metadata::Extents), Uncommitted, "extents"),
            (meta(Metadata::Cow), Uncommitted, "new blocks"),
            (fua(), Durable, "FUA on all data as issued"),
            (on("xfs", fua()), Durable, "FUA on all data as issued"),
            (dropped(), Unknown, "was not seen to be issued"),
            (
                unwatched(&[Hook::FuaIssue], dropped()),
                Unknown,
                "could not be seen here",
            ),
            (
                issuing(Some(false), dropped()),
                Durable,
                "says that it passes it on",
            ),
            (
                cached(Some(true), Some(false), dropped()),
                Durable,
                "the kernel flushed after it",
            ),
            (
                cached(Some(false), Some(true), dropped()),
                Durable,
                "not passed on",
            ),
            (
                cached(Some(false), None, write()),
                Durable,
                "no volatile write cache, metadata unchanged",
            ),
            (on("btrfs", fua()), Unknown, "older metadata"),
            (on("vfat", fua()), Unknown, "older metadata"),
            (
                Evidence {
                    bios: 2,
                    fua: 1,
                    fua_issued: 1,
                    ..write()
                },
                DeviceCache,
                "a part of the data",
            ),
            (write(), DeviceCache, "no flush and no FUA"),
            (
                cached(Some(false), None, on("btrfs", write())),
                Unknown,
                "older metadata",
            ),
            (cached(None, None, write()), Unknown, "is not known"),
        ],
        SENT,
    );
}

#[test]
fn fua_counts_where_it_is_issued_with_all_data() {
    let raw = |fua, fua_issued| {
        let mut e = Evidence {
            bios: 3,
            fua,
            fua_issued,
            ..overwrite(Sync::Dsync)
        };
        (e.place.fs, e.place.block_device) = (None, true);
        e
    };
    assert_eq!(durability(&raw(3, 3)), Some(Durable));
    for seen in 0..3 {
        assert_eq!(durability(&raw(3, seen)), Some(Unknown), "{seen}");
        // Whatever is not known of the device does not make up for it.
        for volatile_cache in [Some(true), None] {
            for (fua, requests) in [
                (Some(true), Some(true)),
                (Some(true), None),
                (None, Some(false)),
            ] {
                let e = issuing(requests, cached(volatile_cache, fua, raw(3, seen)));
                assert_eq!(durability(&e), Some(Unknown), "{e:?}");
            }
        }
    }
    // What is seen of a device that is made of others counts more than its word.
    let (_, why) = judge(&issuing(Some(false), raw(3, 3)));
    assert!(why.contains("as issued"), "{why}");
    // Less data with FUA than there is: what was issued does not matter.
    assert_eq!(durability(&raw(2, 2)), Some(DeviceCache));
    assert_eq!(durability(&raw(0, 0)), Some(DeviceCache));
}

#[test]
fn btrfs_acknowledges_asynchronous_dsync_writes_that_are_not_there() {
    // The end of such a write without its fsync is never durable, whatever the device and whatever was seen of it.
    for metadata in [
        Metadata::Unchanged,
        Metadata::Size,
        Metadata::Extents,
        Metadata::Cow,
        Metadata::Unseen,
    ] {
        for volatile_cache in [Some(true), Some(false), None] {
            for fua in [0, 1] {
                let e = Evidence {
                    metadata,
                    fua,
                    fua_issued: fua.into(),
                    ..on("btrfs", overwrite(Sync::Dsync))
                };
                let e = cached(volatile_cache, Some(true), e);
                assert_ne!(durability(&e), Some(Durable), "{e:?}");
            }
        }
    }
}

#[test]
fn each_rule_of_ext4() {
    let commit = || Evidence {
        commits: 1,
        ..fsync()
    };
    each(
        vec![
            (
                Evidence {
                    commits_barrier: true,
                    ..commit()
                },
                Durable,
                "PREFLUSH and FUA",
            ),
            (cached(Some(false), None, commit()), Durable, "no volatile"),
            (commit(), Unknown, "barrier was not seen"),
            (
                of_what(Some(true), fsync()),
                Unknown,
                "nothing of the directory",
            ),
            (of_what(None, fsync()), Unknown, "whether of a directory"),
            (of_what(Some(false), fsync()), DeviceCache, "no flush"),
            // A flush says nothing of a commit that may come after it.
            (
                Evidence {
                    flushes: 1,
                    flushed_last: true,
                    ..commit()
                },
                Unknown,
                "barrier was not seen",
            ),
        ],
        EXT4,
    );
}

#[test]
fn each_rule_of_xfs() {
    let forced = || Evidence {
        commits: 1,
        ..on("xfs", fsync())
    };
    let blind = |hook| Evidence {
        watched: Watched::all_but(&[hook]),
        ..on("xfs", fsync())
    };
    let flushed = |e| Evidence {
        flushes: 1,
        flushed_last: true,
        ..e
    };
    each(
        vec![
            (
                Evidence {
                    commits_barrier: true,
                    ..forced()
                },
                Durable,
                "PREFLUSH and FUA",
            ),
            (cached(Some(false), None, forced()), Durable, "no volatile"),
            (forced(), Unknown, "no flush after it"),
            // The flush of the data's device comes before a log on a device of its own.
            (
                Evidence {
                    flushes: 1,
                    ..forced()
                },
                Unknown,
                "no flush after it",
            ),
            (flushed(forced()), Durable, "ended in a flush"),
            (flushed(on("xfs", fsync())), Durable, "ended in a flush"),
            (on("xfs", fsync()), Unknown, "had ended was not seen"),
            (flushed(blind(Hook::LogWait)), Unknown, "could not be seen"),
            (flushed(blind(Hook::LogForce)), Unknown, "could not be seen"),
        ],
        XFS,
    );
}

#[test]
fn each_rule_of_btrfs() {
    let wrote = |supers, supers_barrier| Evidence {
        supers,
        supers_barrier,
        ..on("btrfs", fsync())
    };
    each(
        vec![
            (wrote(2, 1), Durable, "superblock with FUA"),
            (
                cached(Some(false), None, wrote(1, 0)),
                Durable,
                "no volatile",
            ),
            (wrote(1, 0), DeviceCache, "without a flush"),
            (cached(None, None, wrote(1, 0)), Unknown, "not known"),
            (wrote(0, 0), Unknown, "another task"),
            // A flush alone is not what ends its fsync.
            (
                Evidence {
                    flushes: 1,
                    flushed_last: true,
                    ..wrote(0, 0)
                },
                Unknown,
                "another task",
            ),
            (
                cached(Some(false), None, wrote(0, 0)),
                Unknown,
                "another task",
            ),
        ],
        BTRFS,
    );
}

#[test]
fn each_rule_of_vfat_and_ext2() {
    for (fs, table) in [("vfat", FAT), ("ext2", EXT2)] {
        let synced = || on(fs, fsync());
        let flushed = Evidence {
            flushes: 1,
            flushed_last: true,
            ..synced()
        };
        each(vec![(flushed, Unknown, "another fsync")], table);
        let (durability, why) = judge(&cached(Some(false), None, synced()));
        assert_eq!(durability, Some(Unknown), "{why}");
        // That nothing was flushed is certain.
        assert_eq!(judge(&synced()).0, Some(DeviceCache));
        // No iomap vouches for the file's older metadata.
        let fua = Evidence {
            fua: 1,
            fua_issued: 1,
            ..overwrite(Sync::Dsync)
        };
        assert_eq!(judge(&on(fs, fua)).0, Some(Unknown));
    }
}

#[test]
fn nothing_is_durable_on_ext4_without_a_journal() {
    let of = |journal, e: Evidence| {
        let place = Place { journal, ..e.place };
        judge(&Evidence { place, ..e })
    };
    let flushed = || Evidence {
        flushes: 1,
        flushed_last: true,
        ..fsync()
    };
    let fua = || Evidence {
        fua: 1,
        fua_issued: 1,
        ..overwrite(Sync::Dsync)
    };
    let committed = Evidence {
        commits: 1,
        commits_barrier: true,
        ..fsync()
    };
    for e in [flushed(), fua(), cached(Some(false), None, fsync())] {
        for (journal, expected) in [
            (Some(true), Durable),
            (Some(false), Unknown),
            (None, Unknown),
        ] {
            let (durability, why) = of(journal, e.clone());
            assert_eq!(durability, Some(expected), "{journal:?} {why}");
            assert!(expected == Durable || why.contains("journal"), "{why}");
        }
    }
    // A commit is one of a journal.
    assert_eq!(of(None, committed).0, Some(Durable));
    // As in 6.1, where the inode was not dirty: that is certain.
    assert_eq!(of(Some(false), fsync()).0, Some(DeviceCache));
}

#[test]
fn each_rule_of_the_flush() {
    // It has rules of its own only for what was not seen of it.
    let device = || {
        let mut e = fsync();
        e.place.fs = None;
        e.place.block_device = true;
        e
    };
    each(
        vec![
            (
                Evidence {
                    flushes: 1,
                    flushed_last: true,
                    ..device()
                },
                Durable,
                "ended in a flush",
            ),
            (
                Evidence {
                    flushes: 1,
                    ..device()
                },
                Unknown,
                "after the last flush",
            ),
            (
                Evidence {
                    watched: Watched::all_but(&[Hook::BioSubmit]),
                    ..device()
                },
                Unknown,
                "flushes could not",
            ),
            (
                Evidence {
                    watched: Watched::all_but(&[Hook::CommitWait]),
                    ..fsync()
                },
                Unknown,
                "a commit could not",
            ),
            (
                Evidence {
                    place: Place {
                        read_only: true,
                        ..device().place
                    },
                    ..device()
                },
                Unknown,
                "read-only",
            ),
            (cached(Some(false), None, device()), Durable, "no volatile"),
            (
                Evidence {
                    preflush: 1,
                    ..fsync()
                },
                Unknown,
                "PREFLUSH",
            ),
            (device(), DeviceCache, "sent no flush"),
            (cached(None, None, device()), Unknown, "is not known"),
        ],
        FLUSH,
    );
}
