#!/usr/bin/env bash
# FerretDB 1.24.0 (SQLite): an `update` command with `ordered: false` whose statement meets a taken `_id` (an upsert that
# asks for an older revision than is there, which is how "set if newer" is written without transactions) does not try the
# statements behind it. Its answer has `ok: 1`, no `n`, and one write error whose index is 0, whichever statement failed.
# Whoever takes the indexes for what failed and the rest for done loses all that stood behind. `insert` goes on as
# `ordered: false` promises, and counts.
#
# Seen on 2026-11-29, with pymongo 4.15.5. Three statements, of which the second fails: `n`, indexes of errors, and which
# of the first and the third are there.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pymongo==4.15.5
mkdir "$work/server" "$work/data"
cat >"$work/server/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + os.Args[1] + "/",
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(server.MongoDBURI())
	os.Stdout.Close()
	_ = server.Run(ctx)
}
END
cd "$work/server"
go mod init finding 2>/dev/null
go get github.com/FerretDB/FerretDB@v1.24.0 2>"$work/log" || { cat "$work/log"; exit 1; }
go mod tidy 2>"$work/log" && CGO_ENABLED=0 go build -o server . || { cat "$work/log"; exit 1; }
cat >"$work/expected" <<'END'
update None [0] ['first']
insert 2 [1] ['first', 'third']
END
"$work/venv/bin/python" - "$work" >"$work/seen" <<'END'
import subprocess
import sys
import pymongo

work = sys.argv[1]
server = subprocess.Popen([f"{work}/server/server", f"{work}/data"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
database = pymongo.MongoClient(server.stdout.readline().strip(), directConnection=True).finding

def shown(kind, collection, statements):
    database[collection].insert_one({"_id": "second", "revision": 5})
    answer = database.command({kind: collection, "ordered": False, **statements}, check=False)
    there = sorted(document["_id"] for document in database[collection].find() if document["_id"] != "second")
    print(kind, answer.get("n"), [error["index"] for error in answer["writeErrors"]], there)

upsert = lambda query: {"q": query, "u": {"$set": {"revision": 3}}, "upsert": True}
newer = {"_id": "second", "revision": {"$lt": 3}}
shown("update", "updated", {"updates": [upsert({"_id": "first"}), upsert(newer), upsert({"_id": "third"})]})
shown("insert", "inserted", {"documents": [{"_id": "first"}, {"_id": "second"}, {"_id": "third"}]})
server.terminate()
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
