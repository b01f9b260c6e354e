use super::*;
use crate::money::PricePerMillion;
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp(1_795_000_000_000); // 2026-11-18

/// Text in, cached, out, then audio in, cached, out, image in, per minute, in millionths of a dollar per million
/// tokens or of a dollar per minute.
fn shown(price: &Price) -> String {
    let rates = price.rates;
    let micro = |price: Option<PricePerMillion>| price.map_or("-".into(), |p| (p.0 / 1000).to_string());
    let kind = |prices: [Option<PricePerMillion>; 3]| prices.map(micro).join(" ");
    let minute = rates.duration_ms.map_or("-".into(), |price| (price.0 / 1_000_000_000).to_string());
    let text = kind([rates.text_in, rates.cached_text_in, rates.text_out]);
    let audio = kind([rates.audio_in, rates.cached_audio_in, rates.audio_out]);
    format!("{text} / {audio} / {} / {minute}", micro(rates.image_in))
}

fn usd(dollars: u64) -> Option<PricePerMillion> {
    Some(PricePerMillion(dollars * 1_000_000_000))
}

fn day(date: &str) -> Timestamp {
    Timestamp::parse_date(date).unwrap()
}

#[test]
fn every_built_in_row_is_readable_and_found_by_all_its_names() {
    let table = PriceTable::builtin();
    let lines = include_str!("builtin.csv").lines().filter(|line| !line.starts_with('#'));
    assert_eq!(table.rows.len(), lines.count() - 1);
    assert_eq!(
        table.idle().map(|row| row.listing.id()).collect::<Vec<_>>(),
        [""; 0],
        "each changes a model's row"
    );
    for row in table.rows.iter().filter(|row| row.listing.conditions.is_empty()) {
        for name in row.listing.names() {
            let model = name.replace('*', "-x");
            let price = table.price(row.listing.provider.as_deref().unwrap(), &model, NOW);
            assert!(price.known, "{name}");
        }
    }
}

#[test]
fn models_have_the_prices_of_their_lists() {
    let table = PriceTable::builtin();
    let realtime_2 = "4000000 400000 24000000 / 32000000 400000 64000000 / 5000000 / -";
    let realtime = "4000000 400000 16000000 / 32000000 400000 64000000 / 5000000 / -";
    let realtime_mini = "600000 60000 2400000 / 10000000 300000 20000000 / 800000 / -";
    let preview = "5000000 2500000 20000000 / 40000000 2500000 80000000 / - / -";
    let mini_preview = "600000 300000 2400000 / 10000000 300000 20000000 / - / -";
    for (provider, model, wanted) in [
        ("openai", "gpt-realtime-2.1", realtime_2),
        ("openai", "gpt-realtime-2.1-2026-05-01", realtime_2),
        ("openai", "gpt-realtime-2-20260501", realtime_2),
        ("openai", "gpt-realtime", realtime),
        ("openai", "gpt-realtime-1.5", realtime),
        ("openai", "gpt-realtime-2025-08-28", realtime),
        ("openai", "gpt-realtime-mini-2025-12-15", realtime_mini),
        ("openai", "gpt-realtime-2.1-mini", realtime_mini),
        ("openai", "gpt-4o-realtime-preview-2024-12-17", preview),
        ("openai", "gpt-4o-mini-realtime-preview-2024-12-17", mini_preview),
        ("azure", "gpt-realtime-2", realtime_2),
        ("a-gateway", "gpt-realtime", realtime),
        ("openai", "gpt-4o-transcribe-diarize", "2500000 - 10000000 / 6000000 - - / - / -"),
        ("openai", "gpt-4o-mini-transcribe-2025-12-15", "1250000 - 5000000 / 3000000 - - / - / -"),
        ("azure", "whisper-1", "- - - / - - - / - / 6000"),
        ("openai", "gpt-realtime-whisper", "- - - / - - - / - / 17000"),
        ("openai", "gpt-transcribe", "- - - / - - - / - / 4500"),
        ("xai", "grok-voice-latest", "0 - 0 / 0 - 0 / 0 / 80000"),
        ("aws", "us.amazon.nova-2-sonic-v1:0", "330000 - 2750000 / 3000000 - 12000000 / - / -"),
    ] {
        let price = table.price(provider, model, NOW);
        assert_eq!((shown(price), price.known), (wanted.into(), true), "{provider} {model}");
    }
    for model in
        ["gpt-realtime-9", "gpt-realtim", "", "whisper-1-extra", "-2026-05-01", "gpt-realtime-2026-5-1"]
    {
        let price = table.price("openai", model, NOW);
        assert_eq!((price.known, price.rates), (false, FALLBACK), "{model}");
    }
}

#[test]
fn every_row_that_fits_is_among_those_that_are_looked_at() {
    let table = PriceTable::builtin();
    let bases: Vec<usize> = (0..table.rows.len()).filter(|&row| !table.prices[row].is_empty()).collect();
    let names: Vec<&Arc<str>> = bases.iter().flat_map(|&row| table.rows[row].listing.names()).collect();
    let models = names.iter().flat_map(|name| {
        ["", "-x", "-2026-05-01", "-20260501", "-global-standard", "-2026-05-01-datazone-standard"]
            .map(|end| format!("{}{end}", name.replace('*', "-a")))
    });
    for model in models.chain(names.iter().map(|name| name.to_string())) {
        let names = Names::of(&model);
        let fits = |index: &usize| table.rows[*index].listing.fit(&names).is_some();
        let fitting: BTreeSet<usize> = bases.iter().copied().filter(fits).collect();
        let found: BTreeSet<usize> = table.candidates(&names).copied().filter(fits).collect();
        assert_eq!(found, fitting, "{model}");
    }
}

#[test]
fn a_price_holds_from_its_day() {
    let table = PriceTable::builtin();
    let terms = |tier: &'static str| Terms::default().with("service_tier", tier);
    let flex = terms("flex");
    let million = Usage { text_in: 1_000_000, text_out: 1_000_000, ..Usage::default() };
    for (model, date, terms, before, after) in [
        ("gemini-3.6-flash", "2027-01-01", terms("standard"), 4_500, 9_000),
        ("gemini-3.7-flash", "2027-01-01", terms("standard"), 4_500, 9_000),
        ("gemini-3.8-flash", "2027-01-01", terms("standard"), 4_500, 9_000),
        ("gemini-3.8-flash-001", "2027-01-01", flex.clone(), 2_250, 4_500),
        ("gemini-4-argon", "2026-12-01", terms("standard"), 12_000, 24_000),
        (
            "gemini-4-argon-preview-10",
            "2026-12-01",
            Terms::default().with("processing", "batch"),
            6_000,
            12_000,
        ),
        ("gemini-4-argon", "2026-12-01", flex, 6_000, 12_000),
        ("gemini-4-hydrogen", "2026-12-01", terms("standard"), 9_000, 9_000),
    ] {
        let thousandths = |at| table.price("google", model, at).cost(&million, &terms).0 / 1_000_000;
        let change = day(date);
        assert_eq!(
            (thousandths(change.minus_ms(1)), thousandths(change)),
            (before, after),
            "{model} {terms}"
        );
        assert!(
            !table.reign(change.minus_ms(1)).holds(&table, change),
            "whoever has looked it up looks again"
        );
    }
    let reign = table.reign(NOW);
    assert!(
        reign.holds(&table, NOW) && reign.holds(&table, NOW.plus_ms(1)) && reign.holds(&table.clone(), NOW)
    );
    assert!(!reign.holds(&table.clone().with_listings([]), NOW) && !reign.holds(&table, day("2027-01-01")));
    assert!(!Reign::default().holds(&table, NOW));
}

#[test]
fn the_better_fit_wins() {
    let csv = "model,provider,aliases,text_in,effective_from\n\
               a-model,x,,1,\n\
               a-model,y,,2,\n\
               b-*,x,,3,\n\
               b-long*,x,,4,\n\
               b-long-name,x,c|d,5,\n\
               e,x,,6,2026-01-01\n\
               e,x,,7,2030-01-01\n\
               *mid*dle*,,,8,\n\
               gpt-realtime,,,9,\n";
    let table = PriceTable::builtin().with_rows(csv).unwrap();
    for (provider, model, usd) in [
        ("x", "a-model", 1),
        ("y", "a-model", 2),
        ("z", "a-model", 1),
        ("x", "a-model-2026-05-01", 1),
        ("x", "b-short", 3),
        ("x", "b-long-", 4),
        ("x", "b-long-name", 5),
        ("x", "b-long-name-2026-05-01", 5),
        ("x", "d", 5),
        ("x", "a-model-2026-05-01-global-standard", 1),
        ("x", "b-global-standard", 3),
        ("x", "e", 6),
        ("z", "a mid the dle z", 8),
        ("openai", "gpt-realtime", 9),
    ] {
        let price = table.price(provider, model, NOW);
        assert_eq!(price.rates.text_in, super::tests::usd(usd), "{provider} {model}");
    }
}

#[test]
fn a_provider_of_a_name_that_nobody_lists_has_the_prices_of_whom_it_is_like() {
    let list = "provider,model,text_in\nazure,m-1,2\nopenai,m*,1\nmine,m-2,3\n,m-3,4";
    let table = PriceTable::default().with_rows(list).unwrap();
    let table = table.with_likenesses([("mine", "openai"), ("other", "nobody")]);
    let table = table.with_rows("provider,model,text_in\nazure,m-4,5").unwrap();
    for (provider, model, wanted) in [
        ("mine", "m-1", 1),
        ("other", "m-1", 2),
        ("stranger", "m-1", 2),
        ("azure", "m-1", 2),
        ("mine", "m-2", 3),
        ("mine", "m-3", 4),
        ("mine", "m-4", 1),
        ("other", "m-4", 5),
    ] {
        assert_eq!(table.price(provider, model, NOW).rates.text_in, usd(wanted), "{provider} {model}");
    }
}

#[test]
fn the_catalog_goes_before_the_file_and_the_file_before_what_is_built_in() {
    let table = PriceTable::builtin().with_rows("model,text_in\ngpt-realtime,1\nother,2").unwrap();
    let set = Listing {
        provider: Some("openai".into()),
        model: "gpt-realtime".into(),
        aliases: vec!["oth*".into()],
        effective_from: Some(NOW),
        conditions: Conditions::default(),
        rates: Rates { text_in: usd(3), duration_ms: usd(60), ..NOTHING },
        factor: Factor::default(),
        note: None,
    };
    let kept: Listing = serde_json::from_str(&serde_json::to_string(&set).unwrap()).unwrap();
    assert_eq!(kept, set);
    // As it was written before there were conditions.
    let earlier = serde_json::json!({"provider": "openai", "model": "gpt-realtime", "aliases": ["oth*"],
        "effective_from": NOW, "price": {"text": {"input": 3_000_000_000_u64, "cached": null, "output": null},
        "audio": {"input": null, "cached": null, "output": null}, "image": {"input": null, "cached": null,
        "output": null}, "per_minute": 60_000}});
    assert_eq!(serde_json::from_value::<Listing>(earlier).unwrap(), set);
    let conditional = Listing {
        conditions: Conditions::parse("speed=fast").unwrap(),
        factor: Factor::parse("1.5").unwrap(),
        ..set.clone()
    };
    assert_ne!(conditional.id(), set.id());
    let written = serde_json::to_string(&conditional).unwrap();
    assert_eq!(serde_json::from_str::<Listing>(&written).unwrap(), conditional);
    let table = table.with_listings([kept]);
    for (provider, model, at, source, dollars) in [
        ("openai", "gpt-realtime", NOW, Source::Catalog, 3),
        ("openai", "gpt-realtime", NOW.minus_ms(1), Source::File, 1),
        ("openai", "other", NOW, Source::Catalog, 3),
        ("azure", "other", NOW, Source::File, 2),
        ("openai", "gpt-realtime-2", NOW, Source::Builtin, 4),
    ] {
        let row = table.row(provider, model, at).unwrap();
        assert_eq!((row.source, row.listing.rates.text_in), (source, usd(dollars)), "{model}");
    }
    assert!(table.row("openai", "nobody's", NOW).is_none());
}

#[test]
fn a_bad_list_is_refused_with_its_line_and_column() {
    for (csv, told) in [
        (
            "model,txt_in\na,1",
            "line 1, column 2 (`txt_in`): there is no such column; these are: provider, model, ",
        ),
        ("model,text_in,model\na,1,b", "line 1, column 3 (`model`): the column is there twice"),
        ("model,text_in\na,1\nb,1,2", "line 3: 3 values where the header has 2 columns"),
        ("model,text_in\na,x", "line 2, column 2 (`text_in`): `x` is not a price in dollars"),
        ("model,text_in\na,-1", "line 2, column 2 (`text_in`): `-1` is not a price in dollars"),
        ("model,per_minute\na,1e9", "line 2, column 2 (`per_minute`): `1e9` is not a price in dollars"),
        ("model,text_in\n,1", "line 2: no model"),
        ("# a comment\n\nmodel,text_in\n\na,", "line 5: no price at all"),
        (
            "model,text_in,effective_from\na,1,2026-02-30",
            "line 2, column 3 (`effective_from`): `2026-02-30` is not a date",
        ),
        (
            "model,conditions,text_in\na,tier=x,1",
            "line 2, column 2 (`conditions`): `tier` is no term; these are: service_tier",
        ),
        ("model,conditions,factor\na,speed=fast,x", "line 2, column 3 (`factor`): `x` is no factor"),
        ("model,conditions\na,speed=fast", "line 2: neither a price nor a factor"),
        ("model,factor\na,1.1", "line 2: a `factor` needs `conditions`"),
        (
            "model,aliases,conditions,text_in\na,b,speed=fast,1",
            "line 2: a row with `conditions` has no aliases",
        ),
        ("model,text_in\na,1\nb,1\na,2", "line 4: it is about the same model, day and conditions as line 2"),
    ] {
        let error = PriceTable::builtin().with_rows(csv).unwrap_err().to_string();
        assert!(error.starts_with(&format!("price list, {told}")), "{error}");
    }
}

#[test]
fn an_operators_row_is_the_whole_price_of_its_model_and_its_conditions_change_what_is_built_in() {
    let csv = "provider,model,conditions,text_in,text_out,factor\n\
               openai,gpt-6.1-sol,,1,1,\n\
               openai,gpt-6.1-terra,service_tier=priority,7,,\n\
               *,gpt-4.1*,region=x,,,2\n\
               openai,gpt-9,speed=fast,1,,\n";
    let table = PriceTable::builtin().with_rows(csv).unwrap();
    let usage = Usage { text_in: 100_000, text_out: 100_000, ..Usage::default() };
    for (provider, model, term, dollars) in [
        ("openai", "gpt-6.1-sol", ("service_tier", "priority"), 2),
        ("openai", "gpt-6.1-terra", ("service_tier", "priority"), 7 + 5),
        ("openai", "gpt-6.1-terra", ("service_tier", "default"), 1 + 5),
        ("openai", "gpt-4.1-2025-04-14", ("region", "x"), 2 * (2 + 8)),
        ("azure", "gpt-4.1", ("region", "x"), 2 * (2 + 8)),
        ("azure", "gpt-4.1", ("region", "y"), 2 + 8),
    ] {
        let terms = Terms::default().with(term.0, term.1);
        let cost = table.price(provider, model, NOW).cost(&usage, &terms);
        assert_eq!(cost, NanoUsd(dollars * 100_000_000), "{provider} {model} {terms}");
    }
    assert_eq!(table.idle().map(|row| &*row.listing.model).collect::<Vec<_>>(), ["gpt-9"]);
}

#[test]
fn of_rows_that_hold_the_one_that_asks_for_more_goes_first_then_the_dearer_and_factors_multiply() {
    let csv = "model,conditions,text_in,text_out,factor\n\
               m,,1,1,\n\
               m,speed=fast,5,,\n\
               m,region=x,3,4,1.5\n\
               m,region=x;speed=fast,2,,2\n\
               m,input_tokens>10,9,,\n";
    let table = PriceTable::builtin().with_rows(csv).unwrap();
    let cost = |terms: &str, text_in| {
        let usage = Usage { text_in, text_out: 10, ..Usage::default() };
        table.price("x", "m", NOW).cost(&usage, &Terms::parse(terms).unwrap()).0
    };
    assert_eq!(cost("", 10), 10_000 + 10_000);
    assert_eq!(cost("speed=fast", 10), 50_000 + 10_000);
    assert_eq!(cost("region=x", 10), (30_000 + 40_000) * 3 / 2);
    assert_eq!(cost("region=x, speed=fast", 10), (20_000 + 40_000) * 3);
    assert_eq!(cost("speed=fast", 11), 99_000 + 10_000);
    assert_eq!(cost("region=x, speed=fast", 11), (22_000 + 40_000) * 3);
}

#[test]
fn standing_terms_and_those_that_a_name_tells_hold_for_estimates_too() {
    let table = PriceTable::builtin();
    let zone = Terms::parse("deployment=data_zone").unwrap();
    let none = Terms::default();
    for (provider, model, standing, factor) in [
        ("azure", "gpt-realtime-2.1", &none, 100),
        ("azure", "gpt-realtime-2.1", &zone, 110),
        ("azure", "gpt-realtime-2.1-global-standard", &none, 100),
        ("azure", "gpt-realtime-2.1-datazone-standard", &none, 110),
        ("azure", "gpt-realtime-2.1-datazone-standard", &zone, 110),
        ("openai", "gpt-realtime-2.1", &zone, 100),
        ("azure", "gpt-4.1", &zone, 100),
    ] {
        let price = table.price_on(provider, model, standing, NOW);
        let usage = Usage { text_out: 500, ..Usage::default() };
        let list = price.rates.text_out.unwrap().0 as i64 / 1_000_000 * 500 * factor / 100;
        let costs = [price.output_cost(500, 0), price.plain_cost(&usage), price.cost(&usage, &none)];
        assert_eq!(costs, [NanoUsd(list); 3], "{provider} {model} {standing}");
    }
    let region = |name| {
        let terms = Terms::parse(&format!("deployment=regional, region={name}")).unwrap();
        table.price_on("azure", "gpt-4.1", &terms, NOW).output_cost(1_000_000, 0).0 / 10_000_000
    };
    assert_eq!(["eastus2", "swedencentral", "northeurope"].map(region), [880, 968, 1_056]);
}

#[test]
fn a_cost_is_exact_to_the_nano_dollar() {
    let table = PriceTable::builtin();
    let usage = Usage {
        text_in: 5,
        audio_in: 15,
        cached_text_in: 1,
        cached_audio_in: 3,
        text_out: 2,
        audio_out: 8,
        ..Usage::default()
    };
    let minute = Usage { duration_ms: 1_700, ..Usage::default() };
    let image = Usage { image_in: 100, cached_image_in: 40, ..Usage::default() };
    let everything_cached = Usage { text_in: 10, cached_text_in: 99, ..Usage::default() };
    for (model, usage, nano, covered) in [
        // 4·4000 + 1·400 + 12·32000 + 3·400 + 2·16000 + 8·64000
        ("gpt-realtime", usage, 945_600, true),
        ("gpt-realtime", Usage { reasoning_out: 2, ..usage }, 945_600, true),
        ("gpt-realtime", image, 60 * 5_000 + 40 * 500, true),
        ("gpt-realtime", everything_cached, 4_000, true),
        // 4·5000 + 1·5000 + 12·40000 + 3·40000 + 2·20000 + 8·80000
        ("no-such-model", usage, 1_305_000, false),
        ("no-such-model", minute, 2_266_667, false),
        ("whisper-1", minute, 170_000, true),
        // A model by the minute that reports tokens, and the other way round.
        ("whisper-1", Usage { audio_in: 10, ..Usage::default() }, 400_000, false),
        ("whisper-1", Usage { audio_in: 10, ..minute }, 170_000, true),
        ("gpt-realtime", minute, 2_266_667, false),
        ("gpt-realtime", Usage { duration_ms: 1_700, ..usage }, 945_600, true),
        // A text model that reports audio.
        ("gpt-4.1", Usage { text_in: 10, audio_in: 10, ..Usage::default() }, 420_000, false),
        // No cached price: the full one.
        ("gpt-4o-transcribe", Usage { audio_in: 10, cached_audio_in: 10, ..Usage::default() }, 60_000, true),
        ("gpt-realtime", Usage { image_out: 10, ..Usage::default() }, 160_000, true),
        // What is written to a cache costs what text does, unless the list says more; by the hour as by the minute.
        (
            "gpt-realtime",
            Usage { text_in: 10, cache_write_in: 4, cache_write_long_in: 5, ..Usage::default() },
            40_000,
            true,
        ),
        (
            "gpt-5.6-cyber",
            Usage { text_in: 10, cache_write_in: 4, cache_write_long_in: 5, ..Usage::default() },
            153_125,
            true,
        ),
        ("gpt-realtime", Usage { video_in: 10, ..Usage::default() }, 50_000, true),
        ("gpt-realtime", Usage { video_out: 10, ..Usage::default() }, 160_000, true),
        ("tts-1-hd", Usage { characters_in: 10, ..Usage::default() }, 300_000, true),
        ("gpt-realtime", Usage { characters_in: 10, ..Usage::default() }, 800_000, false),
        ("gpt-realtime", Usage { characters_in: 10, ..usage }, 945_600, true),
        ("gpt-realtime", Usage { items_in: 1, ..usage }, 4_945_600, false),
        ("gpt-realtime", Usage { searches: 1, ..Usage::default() }, 35_000_000, false),
        ("gpt-4.1", Usage { searches: 2, file_searches: 2, ..Usage::default() }, 25_000_000, true),
        ("gpt-realtime", Usage::default(), 0, true),
    ] {
        let price = table.price("openai", model, NOW);
        let output = Usage { text_out: usage.text_out, audio_out: usage.audio_out, ..Usage::default() };
        let terms = Terms::default();
        assert_eq!(
            price.output_cost(usage.text_out, usage.audio_out),
            price.cost(&output, &terms),
            "{model}"
        );
        assert_eq!(price.bill(&usage, &terms), (NanoUsd(nano), covered), "{model} {usage:?}");
    }
}

/// What whole sessions of each protocol are to cost, one row a booking; some on terms of their own.
#[test]
fn what_providers_bill_is_reckoned_to_the_nano_dollar() {
    let table = PriceTable::builtin();
    let usage = |counts: &str| {
        let mut usage = Usage::default().counts();
        for part in counts.split_whitespace() {
            let (kind, count) = part.split_once(':').unwrap();
            usage[crate::usage::KINDS.iter().position(|name| *name == kind).unwrap()] =
                count.parse().unwrap();
        }
        Usage::of(usage)
    };
    for line in include_str!("bills.txt").lines().filter(|line| !line.starts_with('#')) {
        let [provider, model, terms, counts, nano] =
            line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let price = table.price(provider, model, day("2026-11-29"));
        let terms = Terms::parse(terms.trim_matches('-')).unwrap();
        let cost = price.cost(&usage(counts), &terms);
        assert_eq!(cost.0.to_string(), nano, "{line}");
        assert!(price.bill(&usage(counts), &terms).1, "{line}");
    }
}
