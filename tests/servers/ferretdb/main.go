// A server that speaks MongoDB's protocol and keeps its data in SQLite: FerretDB, for tests where there is no MongoDB.
//
// It prints one line of JSON once it answers, `{"listen":"127.0.0.1:PORT"}`, and ends on SIGTERM and SIGINT.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	dir := flag.String("dir", "", "where the data lasts")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	seconds := flag.Uint("seconds", 0, "ends by itself after so long; 0 does not")
	flag.Parse()
	if err := serve(*dir, *listen, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}

func serve(dir, listen string, life time.Duration) error {
	if dir == "" {
		return errors.New("--dir must say where the data lasts")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if life > 0 {
		limited, cancel := context.WithTimeout(ctx, life)
		defer cancel()
		ctx = limited
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: listen},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:  "sqlite",
		// What is committed outlives the process, which is all that tests end; no need to wait for the disk.
		SQLiteURL: "file:" + dir + "/?_pragma=synchronous(off)",
	})
	if err != nil {
		return err
	}
	// Told to stop, Run would serve the open connections for seconds more. A server that goes away goes at once, and
	// SQLite keeps what was committed.
	ended := make(chan error, 1)
	go func() { ended <- server.Run(context.Background()) }()
	if err := announce(server); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// announce prints where the server listens, which it has done since it was made.
func announce(server *ferretdb.FerretDB) error {
	address, err := url.Parse(server.MongoDBURI())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"listen": address.Host})
}
