#include "pulse/probe.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "pulse/test/temporary_folder.h"

namespace nabu::pulse {
namespace {

using namespace std::string_literals;

TEST_CASE("a text is the bytes of a file, and what it cannot be read for") {
  const TemporaryFolder folder;
  folder.write("state", "4: ACTIVE\n");
  CHECK(read({ProbeKind::kText, folder.at("state")}) == Reading{0, "4: ACTIVE\n"});
  folder.write("huge", std::string(100'000, 'x'));
  CHECK(read({ProbeKind::kText, folder.at("huge")}).content.size() == kTextBytes);
  CHECK(read({ProbeKind::kText, folder.at("missing")}).error == ENOENT);
  CHECK(read({ProbeKind::kText, folder.at("")}).error == EISDIR);
  CHECK(read({ProbeKind::kText, folder.at("state/below")}).error == ENOTDIR);
}

TEST_CASE("a text opens no link, and waits for nobody at a pipe") {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/dev/zero", folder.at("link"));
  CHECK(read({ProbeKind::kText, folder.at("link")}).error == ELOOP);
  REQUIRE(::mkfifo(folder.at("pipe").c_str(), 0600) == 0);
  CHECK(read({ProbeKind::kText, folder.at("pipe")}) == Reading{0, ""});
  const int writer = ::open(folder.at("pipe").c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(writer >= 0);
  CHECK(read({ProbeKind::kText, folder.at("pipe")}).error == EAGAIN);
  ::close(writer);
}

TEST_CASE("names are those in a directory, whatever their order") {
  const TemporaryFolder folder;
  CHECK(read({ProbeKind::kNames, folder.at("")}) == Reading{0, ""});
  for (const char* name : {"mlx5_1", "mlx5_0", "a"}) folder.write(name, "");
  CHECK(read({ProbeKind::kNames, folder.at("")}) == Reading{0, "a\0mlx5_0\0mlx5_1\0"s});
  CHECK(read({ProbeKind::kNames, folder.at("a")}).error == ENOTDIR);
  CHECK(read({ProbeKind::kNames, folder.at("none")}).error == ENOENT);
}

TEST_CASE("a link is where it leads, and nothing else is one") {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("../drivers/vfio-pci", folder.at("driver"));
  CHECK(read({ProbeKind::kLink, folder.at("driver")}) == Reading{0, "../drivers/vfio-pci"});
  CHECK(read({ProbeKind::kLink, folder.at("")}).error == EINVAL);
  CHECK(read({ProbeKind::kLink, folder.at("none")}).error == ENOENT);
}

TEST_CASE("a node is its kind and the numbers of a device, not what a file holds") {
  const TemporaryFolder folder;
  folder.write("file", "one");
  const Reading file = read({ProbeKind::kNode, folder.at("file")});
  folder.write("file", "two and more");
  CHECK(read({ProbeKind::kNode, folder.at("file")}) == file);
  const Reading null = read({ProbeKind::kNode, "/dev/null"});
  CHECK(null.error == 0);
  CHECK_FALSE(null == read({ProbeKind::kNode, "/dev/zero"}));
  CHECK_FALSE(null == file);
  CHECK(read({ProbeKind::kNode, folder.at("none")}).error == ENOENT);
}

}  // namespace
}  // namespace nabu::pulse
