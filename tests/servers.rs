//! The servers that the stores are tested with, and the proxy that loses, delays and repeats what is said to one: each
//! does to a real client what the other tests rely on.

use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use std::time::{Duration, Instant};
use tokenist_kit::{Mode, Mongo, MongoProxy, PATIENCE, Redis, eventually};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A client that soon gives up to look for a server.
async fn client(uri: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(Duration::from_secs(2));
    Client::with_options(options).unwrap()
}

async fn update(database: &Database, id: &str, change: Document) -> mongodb::error::Result<Document> {
    let statement = doc! {"q": {"_id": id}, "u": change, "upsert": true};
    database.run_command(doc! {"update": "users", "updates": [statement], "ordered": false}).await
}

async fn cost(database: &Database, id: &str) -> Option<i64> {
    let found = database.collection::<Document>("users").find_one(doc! {"_id": id}).await.unwrap();
    found.map(|document| document.get_i64("cost").unwrap())
}

#[test]
fn mongo_goes_away_and_comes_back_with_its_data() {
    let mut mongo = Mongo::start();
    if !mongo.is_ours() {
        return;
    }
    let name = mongo.database();
    assert_ne!(name, mongo.database());
    block_on(async {
        let database = client(&mongo.uri()).await.database(&name);
        for cost in [5_i64, 9, 7] {
            update(&database, "alice", doc! {"$max": {"cost": cost}}).await.unwrap();
        }
        mongo.stop();
        assert!(update(&database, "alice", doc! {"$max": {"cost": 10_i64}}).await.is_err());
        mongo.restart();
        // The very same client finds it again.
        assert_eq!(cost(&database, "alice").await, Some(9));
    });
}

#[test]
fn mongo_that_is_paused_answers_when_it_goes_on() {
    let mongo = Mongo::start();
    if !mongo.is_ours() {
        return;
    }
    block_on(async {
        let database = client(&mongo.uri()).await.database(&mongo.database());
        update(&database, "alice", doc! {"$max": {"cost": 1_i64}}).await.unwrap();
        mongo.pause();
        let more = update(&database, "alice", doc! {"$max": {"cost": 2_i64}});
        tokio::pin!(more);
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut more).await.is_err());
        mongo.resume();
        more.await.unwrap();
        assert_eq!(cost(&database, "alice").await, Some(2));
    });
}

#[test]
fn the_proxy_passes_what_it_is_not_told_about() {
    let mongo = Mongo::start();
    let proxy = MongoProxy::start(&mongo);
    block_on(async {
        let name = mongo.database();
        let database = client(&proxy.uri()).await.database(&name);
        let many =
            (0..2_000).map(|id| doc! {"_id": format!("user {id}"), "cost": id, "text": "x".repeat(1_000)});
        database.collection("users").insert_many(many).await.unwrap();
        let direct = client(&mongo.uri()).await.database(&name);
        for database in [&database, &direct] {
            let count = database.collection::<Document>("users").count_documents(doc! {}).await.unwrap();
            assert_eq!(count, 2_000);
        }
        database.drop().await.unwrap();
    });
    assert_eq!((proxy.dropped(), proxy.replayed()), (0, 0));
}

#[test]
fn an_answer_is_delayed_for_its_own_connection_alone() {
    const DELAY: Duration = Duration::from_secs(1);
    let mongo = Mongo::start();
    let proxy = MongoProxy::start(&mongo);
    block_on(async {
        let name = mongo.database();
        let (one, other) =
            (client(&proxy.uri()).await.database(&name), client(&proxy.uri()).await.database(&name));
        // A user each, since FerretDB loses one of two changes of one document at the same time.
        for (database, id) in [(&one, "alice"), (&other, "bob")] {
            update(database, id, doc! {"$set": {"cost": 0_i64}}).await.unwrap();
        }
        proxy.set(Mode::Delay(DELAY));
        let started = Instant::now();
        let inc = || doc! {"$inc": {"cost": 1_i64}};
        let (first, second) = tokio::join!(update(&one, "alice", inc()), update(&other, "bob", inc()));
        let elapsed = started.elapsed();
        assert!(first.is_ok() && second.is_ok());
        assert!(elapsed >= DELAY && elapsed < 2 * DELAY, "{elapsed:?}");
        proxy.set(Mode::Pass);
        assert_eq!((cost(&one, "alice").await, cost(&other, "bob").await), (Some(1), Some(1)));
        one.drop().await.unwrap();
    });
}

#[test]
fn a_dropped_answer_is_to_a_command_that_was_applied() {
    let mongo = Mongo::start();
    let proxy = MongoProxy::start(&mongo);
    block_on(async {
        let database = client(&proxy.uri()).await.database(&mongo.database());
        proxy.set(Mode::DropAnswer { commands: &["update"], times: 2 });
        for _ in 0..2 {
            database.run_command(doc! {"ping": 1}).await.unwrap();
            update(&database, "alice", doc! {"$inc": {"cost": 1_i64}}).await.unwrap_err();
        }
        update(&database, "alice", doc! {"$inc": {"cost": 1_i64}}).await.unwrap();
        assert_eq!(cost(&database, "alice").await, Some(3));
        database.drop().await.unwrap();
    });
    assert_eq!(proxy.dropped(), 2);
}

#[test]
fn an_old_write_comes_again_after_a_newer_one() {
    let mongo = Mongo::start();
    let proxy = MongoProxy::start(&mongo);
    block_on(async {
        let database = client(&proxy.uri()).await.database(&mongo.database());
        proxy.set(Mode::Reorder);
        for (round, applied) in [(1_i64, 1), (2, 1), (3, 2)] {
            update(&database, "alice", doc! {"$set": {"cost": round}}).await.unwrap();
            assert_eq!(cost(&database, "alice").await, Some(applied), "after write {round}");
        }
        proxy.set(Mode::Pass);
        update(&database, "alice", doc! {"$set": {"cost": 4_i64}}).await.unwrap();
        assert_eq!(cost(&database, "alice").await, Some(4));
        database.drop().await.unwrap();
    });
    assert_eq!(proxy.replayed(), 2);
}

#[test]
fn a_server_that_refuses_is_away_until_it_does_not() {
    let mongo = Mongo::start();
    let proxy = MongoProxy::start(&mongo);
    block_on(async {
        let database = client(&proxy.uri()).await.database(&mongo.database());
        let one_more = || update(&database, "alice", doc! {"$inc": {"cost": 1_i64}});
        one_more().await.unwrap();
        proxy.set(Mode::Refuse);
        one_more().await.unwrap_err();
        proxy.set(Mode::Pass);
        one_more().await.unwrap();
        // Its idle connections are of no use any more, and it opens others for what may be said twice.
        proxy.cut();
        assert_eq!(cost(&database, "alice").await, Some(2));
        database.drop().await.unwrap();
    });
}

#[test]
fn redis_comes_back_empty() {
    let mut redis = Redis::start();
    let client = redis::Client::open(redis.uri()).unwrap();
    let set = |value: &str| redis::cmd("SET").arg("key").arg(value).exec(&mut client.get_connection()?);
    let get = || redis::cmd("GET").arg("key").query::<Option<String>>(&mut client.get_connection()?);
    set("value").unwrap();
    assert_eq!(get().unwrap().as_deref(), Some("value"));
    redis.stop();
    assert!(get().is_err());
    redis.restart();
    assert_eq!(get().unwrap(), None);
    redis.restart();
    set("again").unwrap();
}

#[test]
fn redis_that_is_paused_is_silent() {
    let redis = Redis::start();
    let client = redis::Client::open(redis.uri()).unwrap();
    let mut connection = client.get_connection().unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    redis.pause();
    assert!(redis::cmd("PING").exec(&mut connection).unwrap_err().is_timeout());
    redis.resume();
    let ping = || client.get_connection().and_then(|mut connection| redis::cmd("PING").exec(&mut connection));
    assert_eq!(eventually(PATIENCE, ping, Result::is_ok), Ok(()));
}

#[test]
fn redis_as_a_cluster_speaks_to_clients_of_clusters() {
    let mut redis = Redis::cluster();
    block_on(async {
        let client = redis::cluster::ClusterClient::new([redis.uri()]).unwrap();
        let mut connection = client.get_async_connection().await.unwrap();
        for key in ["a", "b", "c"] {
            let count: i64 = redis::cmd("INCR").arg(key).query_async(&mut connection).await.unwrap();
            assert_eq!(count, 1);
        }
        redis.restart();
        let mut connection = client.get_async_connection().await.unwrap();
        let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        let count: i64 = script.key("a").arg(7).invoke_async(&mut connection).await.unwrap();
        assert_eq!(count, 7);
    });
}
