// Program peer serves a directory with gVisor's own gofer server: what our server is measured
// against and compared with.
//
// It is set up the way `runsc gofer` sets itself up before it serves, in the same order: umask 0,
// the directory of descriptors opened, the process confined to the served directory, gVisor's own
// seccomp filter for gofers, one connection per descriptor. What is left out is only what concerns
// a container: the bundle, its mounts and namespaces.
//
// Built from Debian's golang-gvisor-gvisor-dev by tools/bench; it is no part of the product.
//
//	peer --root=DIR (--lisafs_fd=N[,N...] | --lisafs_socket=FILE) [--readonly] [--ready_fd=N]
//	     [--host_uds=none|open|create|all] [--host_fifo=none|open] [--seccomp=BOOL]
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/fsgofer"
	"gvisor.dev/gvisor/runsc/fsgofer/filter"
)

var (
	root         = flag.String("root", "", "directory to serve")
	lisafsFDs    = flag.String("lisafs_fd", "", "connected sockets, comma separated; each is one mount of --root")
	lisafsSocket = flag.String("lisafs_socket", "", "path to listen on; each connection is one mount of --root")
	readonly     = flag.Bool("readonly", false, "refuse changes on all connections")
	readyFD      = flag.Int("ready_fd", -1, "gets one newline when the server serves")
	seccomp      = flag.Bool("seccomp", true, "install gVisor's filter for gofers")
	hostUDS      config.HostUDS
	hostFifo     config.HostFifo
)

func fatal(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "peer: "+format+"\n", args...)
	os.Exit(1)
}

// confine leaves nothing but the served directory in reach, as the stock gofer does.
func confine() {
	unix.Umask(0)
	// Before chroot: afterwards there is no /proc.
	if err := fsgofer.OpenProcSelfFD(); err != nil {
		fatal("%v", err)
	}
	if err := unix.Chroot(*root); err != nil {
		fatal("chroot(%s): %v", *root, err)
	}
	if err := unix.Chdir("/"); err != nil {
		fatal("chdir(/): %v", err)
	}
	if !*seccomp {
		return
	}
	err := filter.Install(filter.Options{
		UDSOpenEnabled:   hostUDS.AllowOpen(),
		UDSCreateEnabled: hostUDS.AllowCreate(),
	})
	if err != nil {
		fatal("seccomp: %v", err)
	}
}

func startConnection(server *fsgofer.LisafsServer, socket *unet.Socket) {
	connection, err := server.CreateConnection(socket, "/", *readonly)
	if err != nil {
		fatal("connection on descriptor %d: %v", socket.FD(), err)
	}
	server.StartConnection(connection)
}

func main() {
	flag.Var(&hostUDS, "host_uds", "unix sockets of the host: none, open, create or all")
	flag.Var(&hostFifo, "host_fifo", "FIFOs of the host: none or open")
	flag.Parse()
	if *root == "" || (*lisafsFDs == "") == (*lisafsSocket == "") {
		fmt.Fprintln(os.Stderr, "peer: needs --root and one of --lisafs_fd, --lisafs_socket")
		os.Exit(2)
	}

	// As `runsc gofer` finds it when runsc was started with a high limit.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}

	var sockets []*unet.Socket
	var listener *unet.ServerSocket
	if *lisafsSocket != "" {
		var err error
		if listener, err = unet.BindAndListen(*lisafsSocket, false); err != nil {
			fatal("listen(%s): %v", *lisafsSocket, err)
		}
		// The stock filter has no place for accept4, which a real gofer never needs here.
		*seccomp = false
	} else {
		for _, text := range strings.Split(*lisafsFDs, ",") {
			fd, err := strconv.Atoi(text)
			if err != nil {
				fatal("--lisafs_fd: %v", err)
			}
			socket, err := unet.NewSocket(fd)
			if err != nil {
				fatal("--lisafs_fd=%d: %v", fd, err)
			}
			sockets = append(sockets, socket)
		}
	}

	server := fsgofer.NewLisafsServer(fsgofer.Config{HostUDS: hostUDS, HostFifo: hostFifo})
	confine()
	for _, socket := range sockets {
		startConnection(server, socket)
	}
	if *readyFD >= 0 {
		unix.Write(*readyFD, []byte("\n"))
		unix.Close(*readyFD)
	}
	for listener != nil {
		socket, err := listener.Accept()
		if err != nil {
			fatal("accept: %v", err)
		}
		startConnection(server, socket)
	}
	server.Wait()
	server.Destroy()
}
