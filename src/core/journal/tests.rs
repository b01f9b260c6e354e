use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const LANE: LaneId = LaneId { incarnation: 7, number: 2 };

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9żółw@-]{1,12}", "[x]{256}"]
}

prop_compose! {
    fn identity()(
        user in text(), org in option::of(text()), feature in option::of(text()), words in option::of(text()),
        key in option::of(any::<[u8; 32]>()),
    ) -> Identity {
        Identity {
            user: user.as_str().into(),
            org: org.as_deref().map(Into::into),
            feature: feature.as_deref().map(Into::into),
            conversation: words.clone().map(Arc::from),
            email: None,
            name: words.map(Arc::from),
            key: key.map(KeyHash),
        }
    }
}

prop_compose! {
    fn delta()(
        at in any::<u64>(), session in any::<u64>(), identity in identity(), model in text(),
        counts in any::<[u64; KINDS.len()]>(), cost in any::<i64>(), estimated in any::<bool>(),
        latency_ms in option::of(any::<u64>()),
    ) -> Delta {
        Delta {
            at: Timestamp(at), session: SessionId(session), identity: Arc::new(identity), provider: "openai".into(),
            model: model.as_str().into(), usage: Usage::of(counts), cost: NanoUsd(cost), estimated, latency_ms,
        }
    }
}

prop_compose! {
    fn log()(
        id in text(), identity in identity(), body in option::of("[a-z{}\": ]{0,400}"),
        counts in option::of(any::<[u64; KINDS.len()]>()),
    ) -> Log {
        Log {
            id: id.into(), at: Timestamp(3), identity: Arc::new(identity), model: "m".into(),
            request: body.clone().map(Arc::from), response: body.map(Arc::from), status: "success".into(),
            latency_ms: Some(4), usage: counts.map(|counts| (Usage::of(counts), NanoUsd(-5))),
        }
    }
}

fn item() -> impl Strategy<Value = Item> {
    let call = (delta(), vec(text(), 0..3), option::of(log())).prop_map(|(delta, ids, log)| {
        Item::Call(Box::new(Call { delta, log, ids: ids.into_iter().map(Arc::from).collect() }))
    });
    prop_oneof![3 => delta().prop_map(|delta| Item::Delta(Box::new(delta))), 1 => call]
}

/// A ring with these items written into it from a position on, as a lane does; and where each ends.
fn written(ring_bytes: usize, from: u64, items: &[Item]) -> (Vec<u8>, Vec<u64>) {
    let (mut ring, mut position, mut ends) = (vec![0; ring_bytes], from, Vec::new());
    for item in items {
        let mut record = Vec::new();
        begin(&mut record);
        match item {
            Item::Delta(delta) => write_delta(delta, &mut record),
            Item::Call(call) => write_call(call, &mut record),
        }
        seal(&mut record, LANE, position);
        for byte in record {
            ring[(position % ring_bytes as u64) as usize] = byte;
            position += 1;
        }
        ends.push(position);
    }
    (ring, ends)
}

fn read(ring: &[u8], from: u64) -> Vec<Item> {
    items(ring, LANE, from, &Kinds::present()).map(|(item, _)| item).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_wherever_in_the_ring_it_stands(
        wanted in vec(item(), 0..5), from in prop_oneof![0..100_000_u64, Just(u64::MAX / 2)],
    ) {
        let (ring, ends) = written(20_000, from, &wanted);
        let kinds = Kinds::present();
        let found: Vec<_> = items(&ring, LANE, from, &kinds).collect();
        prop_assert_eq!(found.iter().map(|(_, upto)| upto.position).collect::<Vec<_>>(), ends.clone());
        prop_assert_eq!(found.into_iter().map(|(item, _)| item).collect::<Vec<_>>(), wanted.clone());
        // And from the end of any record on, what comes after it.
        for (index, end) in ends.iter().enumerate() {
            prop_assert_eq!(read(&ring, *end), &wanted[index + 1..]);
        }
        let others = [LaneId { incarnation: 8, ..LANE }, LaneId { number: 1, ..LANE }];
        prop_assert!(others.iter().all(|lane| items(&ring, *lane, from, &kinds).next().is_none()));
    }

    #[test]
    fn wherever_it_is_cut_what_is_whole_before_is_read(
        wanted in vec(item(), 1..4), cut in any::<prop::sample::Index>(), stale in any::<u8>(),
    ) {
        let (mut ring, ends) = written(20_000, 0, &wanted);
        let cut = cut.index(*ends.last().unwrap() as usize);
        ring[cut..].fill(stale);
        let whole = ends.iter().filter(|end| **end <= cut as u64).count();
        // Where what was cut off is what stands there anyway, nothing is missing.
        let found = read(&ring, 0);
        prop_assert!(found.len() >= whole);
        prop_assert_eq!(&found[..], &wanted[..found.len()]);
        let (intact, _) = written(20_000, 0, &wanted);
        let first_torn = ends.iter().position(|end| ring[..*end as usize] != intact[..*end as usize]);
        prop_assert_eq!(found.len(), first_torn.unwrap_or(wanted.len()));
    }

    #[test]
    fn a_bit_that_is_flipped_ends_what_is_read_there(
        wanted in vec(item(), 1..4), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let (mut ring, ends) = written(20_000, 0, &wanted);
        let at = at.index(*ends.last().unwrap() as usize);
        ring[at] ^= 1 << bit;
        let whole = ends.iter().filter(|end| **end <= at as u64).count();
        prop_assert_eq!(read(&ring, 0), &wanted[..whole]);
    }

    #[test]
    fn nothing_that_stands_in_a_file_makes_reading_fail(mut ring in vec(any::<u8>(), 0..300), from in any::<u64>()) {
        prop_assert!(read(&ring, from).len() * HEAD_BYTES <= ring.len());
        prop_assert_eq!(Layout::read(&ring), Err(LayoutError::Damaged));
        // Also where the checksum is right.
        if ring.len() > HEAD_BYTES {
            seal(&mut ring, LANE, 0);
            let found = items(&ring, LANE, 0, &Kinds::present()).count();
            prop_assert!(found <= 1);
        }
    }
}

#[test]
fn an_earlier_round_is_not_read_again() {
    let delta = |at| {
        Item::Delta(Box::new(Delta {
            at: Timestamp(at),
            session: SessionId(1),
            identity: Arc::new(Identity::of("alice".into())),
            provider: "openai".into(),
            model: "m".into(),
            usage: Usage::default(),
            cost: NanoUsd(1),
            estimated: false,
            latency_ms: None,
        }))
    };
    let one = written(10_000, 0, &[delta(1)]).1[0];
    // The ring holds exactly three: the fourth stands where the first did, and behind it the second still stands.
    let (ring, ends) = written(3 * one as usize, 0, &[1, 2, 3, 4].map(delta));
    assert_eq!(ends, [1, 2, 3, 4].map(|count| count * one));
    assert_eq!(read(&ring, one), [2, 3, 4].map(delta));
    assert_eq!(read(&ring, 0), []);
    assert_eq!(read(&ring, 4 * one), []);
}

#[test]
fn a_layout_reads_back_and_nothing_else_is_taken_for_one() {
    let layout = layout();
    let bytes = layout.write();
    assert_eq!((bytes.len(), Layout::read(&bytes)), (LAYOUT_BYTES, Ok(layout.clone())));
    assert_eq!([0, 1, 3].map(|lane| layout.start(lane)), [4096, 4096 + (1 << 22), layout.file_bytes()]);
    for at in 0..LAYOUT_BYTES {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(Layout::read(&damaged), Err(LayoutError::Damaged), "byte {at}");
    }
    assert_eq!(Layout::read(&bytes[..LAYOUT_BYTES - 1]), Err(LayoutError::Damaged));
    let sealed = |mut bytes: Vec<u8>| {
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Layout::read(&bytes)
    };
    let mut newer = bytes[..LAYOUT_BYTES - 4].to_vec();
    newer[8] += 1;
    assert_eq!(sealed(newer), Err(LayoutError::Newer));
    let mut unknown = bytes[..LAYOUT_BYTES - 4].to_vec();
    let at = bytes.windows(8).position(|name| name == b"audio_in").unwrap();
    unknown[at] = b'o';
    assert_eq!(sealed(unknown), Err(LayoutError::Newer), "it counts a kind that is not in the table yet");
}

/// As its records are: a kind that came later is not in them, wherever it stands in the table.
#[test]
fn a_journal_that_knew_fewer_kinds_is_read_by_those() {
    let now = Layout { kinds: Kinds::named(KINDS_OF_VERSION_1).unwrap(), ..layout() };
    let mut first = now.write();
    let named = first.windows(7).position(|name| name == b"text_in").unwrap();
    first.truncate(LAYOUT_BYTES - 4);
    first[8] = 1;
    // What is behind `lane_bytes` was zeros.
    first[named - 2..].fill(0);
    first.extend(crc32fast::hash(&first).to_le_bytes());
    let read = Layout::read(&first).unwrap();
    assert_eq!(read, now);
    let names = KINDS_OF_VERSION_1.iter().zip(1..).map(|(name, count)| format!("\"{name}\":{count}"));
    let zeros = serde_json::to_value(Usage::default()).unwrap();
    let mut wanted = zeros.as_object().unwrap().clone();
    let counts = format!("{{{}}}", names.collect::<Vec<_>>().join(","));
    wanted.extend(serde_json::from_str::<serde_json::Map<_, _>>(&counts).unwrap());
    let written: Vec<u8> = (1..=KINDS_OF_VERSION_1.len() as u8).collect();
    let usage = Eye(&written).usage(&read.kinds).unwrap();
    assert_eq!(serde_json::to_value(usage).unwrap(), serde_json::Value::Object(wanted));
}

fn layout() -> Layout {
    Layout {
        ledger: "0123456789abcdef".into(),
        incarnation: 12,
        lanes: 3,
        lane_bytes: 1 << 22,
        kinds: Kinds::present(),
    }
}
