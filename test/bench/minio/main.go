// Command minio-load puts, or gets, objects of one size over S3 with a fixed number in flight and prints one JSON line.
// It is the peer's side of blob.put.file and blob.get.file: MinIO's own Go client, unsigned payload, no TLS.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

type options struct {
	endpoint, access, secret, bucket, op string
	sizeBytes                            int64
	count, inFlight                      int
	seed                                 int64
}

func parse() options {
	var o options
	flag.StringVar(&o.endpoint, "endpoint", "127.0.0.1:9000", "HOST:PORT of the server")
	flag.StringVar(&o.access, "access-key", "", "access key")
	flag.StringVar(&o.secret, "secret-key", "", "secret key")
	flag.StringVar(&o.bucket, "bucket", "bench", "bucket, made when it is missing")
	flag.StringVar(&o.op, "op", "put", "put or get")
	flag.Int64Var(&o.sizeBytes, "size", 4<<20, "bytes of an object")
	flag.IntVar(&o.count, "count", 256, "objects")
	flag.IntVar(&o.inFlight, "in-flight", 16, "requests at once")
	flag.Int64Var(&o.seed, "seed", 1, "of the content")
	flag.Parse()
	return o
}

func run(ctx context.Context, o options) (float64, error) {
	client, err := minio.New(o.endpoint, &minio.Options{Creds: credentials.NewStaticV4(o.access, o.secret, "")})
	if err != nil {
		return 0, err
	}
	exists, err := client.BucketExists(ctx, o.bucket)
	if err != nil {
		return 0, err
	}
	if !exists {
		if err := client.MakeBucket(ctx, o.bucket, minio.MakeBucketOptions{}); err != nil {
			return 0, err
		}
	}
	body := make([]byte, o.sizeBytes)
	rand.New(rand.NewSource(o.seed)).Read(body)

	var next atomic.Int64
	var group sync.WaitGroup
	failures := make(chan error, o.inFlight)
	start := time.Now()
	for worker := 0; worker < o.inFlight; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for index := next.Add(1) - 1; index < int64(o.count); index = next.Add(1) - 1 {
				if err := one(ctx, client, o, body, index); err != nil {
					failures <- fmt.Errorf("object %d: %w", index, err)
					return
				}
			}
		}()
	}
	group.Wait()
	seconds := time.Since(start).Seconds()
	select {
	case err := <-failures:
		return 0, err
	default:
		return float64(o.count) * float64(o.sizeBytes) / 1e9 / seconds, nil
	}
}

func one(ctx context.Context, client *minio.Client, o options, body []byte, index int64) error {
	name := fmt.Sprintf("object-%06d", index)
	if o.op == "put" {
		put := minio.PutObjectOptions{DisableContentSha256: true, DisableMultipart: true}
		_, err := client.PutObject(ctx, o.bucket, name, bytes.NewReader(body), o.sizeBytes, put)
		return err
	}
	object, err := client.GetObject(ctx, o.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer object.Close()
	read, err := io.Copy(io.Discard, object)
	if err == nil && read != o.sizeBytes {
		err = fmt.Errorf("%d bytes came back, not %d", read, o.sizeBytes)
	}
	return err
}

func main() {
	o := parse()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	rate, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "minio-load:", err)
		os.Exit(1)
	}
	line, err := json.Marshal(map[string]any{"op": o.op, "gbPerSecond": rate, "count": o.count, "inFlight": o.inFlight})
	if err != nil {
		fmt.Fprintln(os.Stderr, "minio-load:", err)
		os.Exit(1)
	}
	fmt.Println(string(line))
}
