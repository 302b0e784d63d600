#include "volume/keeper/server_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace nabu::volume::keeper {

Status ServerProcess::start(const std::vector<std::string>& command) {
  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  // The flag is inherited by the child and kept over exec: its allocations then never wait for its
  // own volumes. Needs CAP_SYS_RESOURCE.
  ioFlusher_ = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
  const pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    execvp(arguments[0], arguments.data());
    std::fprintf(stderr, "nabu-keeper: %s: %s\n", arguments[0], std::strerror(errno));
    _exit(127);
  }
  if (ioFlusher_) prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
  if (pid < 0) return Error{Failure::kSystem, "fork", std::strerror(errno)};
  pid_ = pid;
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd_) return Error{Failure::kSystem, "pidfd_open", std::strerror(errno)};
  return Done{};
}

void ServerProcess::reap() {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
  }
  std::fprintf(stderr, "nabu-keeper: server %d ended: %s %d\n", pid_,
               info.si_code == CLD_EXITED ? "exit" : "signal", info.si_status);
  pidfd_.reset();
  pid_ = 0;
}

void ServerProcess::signal(int number) const {
  if (pidfd_) syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

}  // namespace nabu::volume::keeper
