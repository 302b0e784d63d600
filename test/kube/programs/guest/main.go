// What a container of a test does that a shell cannot: maps and touches huge pages, opens devices, tells its limits.
//
//	guest map FILE BYTES      maps a file of that size (hugetlbfs: huge pages) and touches every page of it
//	guest anonymous BYTES     the same with anonymous memory on huge pages of 2 MiB
//	guest open FILE           opens it for reading and writing
//	guest memlock             soft and hard limit of locked memory in bytes, or "unlimited"
//
// Prints one line: "ok ..." or "refused ..." with the errno's text, and ends with 0 or 1.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
)

const pageBytes = 2 << 20

func main() {
	said, err := run(os.Args[1:])
	if err != nil {
		fmt.Println("refused", err)
		os.Exit(1)
	}
	fmt.Println("ok", said)
}

func run(args []string) (string, error) {
	switch {
	case len(args) == 3 && args[0] == "map":
		return mapFile(args[1], args[2])
	case len(args) == 2 && args[0] == "anonymous":
		return mapAnonymous(args[1])
	case len(args) == 2 && args[0] == "open":
		return open(args[1])
	case len(args) == 1 && args[0] == "memlock":
		return memlock()
	}
	return "", fmt.Errorf("unknown arguments %q", args)
}

func mapFile(path, size string) (string, error) {
	bytes, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := file.Truncate(int64(bytes)); err != nil {
		return "", err
	}
	return touch(int(file.Fd()), bytes, syscall.MAP_SHARED)
}

func mapAnonymous(size string) (string, error) {
	bytes, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	return touch(-1, bytes, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS|syscall.MAP_HUGETLB)
}

// touch writes to every page. A page that may not be had is SIGBUS, which the runtime makes a panic of.
func touch(fd, bytes, flags int) (said string, err error) {
	memory, err := syscall.Mmap(fd, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, flags)
	if err != nil {
		return "", fmt.Errorf("mmap: %w", err)
	}
	touched := 0
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("SIGBUS after %d pages", touched)
		}
	}()
	debug.SetPanicOnFault(true)
	for at := 0; at < bytes; at += pageBytes {
		memory[at] = 1
		touched++
	}
	return fmt.Sprintf("touched %d pages", touched), nil
}

func open(path string) (string, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	return "opened", syscall.Close(fd)
}

func memlock() (string, error) {
	// RLIMIT_MEMLOCK of getrlimit(2), which package syscall does not name.
	const rlimitMemlock = 8
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(rlimitMemlock, &limit); err != nil {
		return "", err
	}
	return words(limit.Cur) + " " + words(limit.Max), nil
}

func words(limit uint64) string {
	if limit == ^uint64(0) {
		return "unlimited"
	}
	return strconv.FormatUint(limit, 10)
}
