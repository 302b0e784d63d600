#pragma once

#include <optional>
#include <string>

#include "volume/core/types.h"
#include "volume/keeper/unique_fd.h"

namespace nabu::volume::keeper {

struct LoopDevice {
  int number = -1;
  std::string path;
  UniqueFd fd;  // open as long as the device is ours
};

/**
 * Makes a loop device of the file: blocks of 4096 bytes, direct I/O, dirty memory of its users
 * bounded. Blocks until somebody serves the file. Linux LOOP_CONFIGURE (5.8).
 */
Result<LoopDevice> attachLoop(const std::string& backingFile, bool readOnly);

/** Has the device take the file's present size. */
Status resizeLoop(const LoopDevice& device, const std::string& backingFile);

/** Takes the device away. kWrongState when a file system or another program holds it. */
Status detachLoop(LoopDevice device, const std::string& backingFile);

/** The device's backing file as the kernel names it, or nothing. */
std::optional<std::string> backingFileOf(int number);

/** For cleaning up after a keeper that died: unmounts what is on the device, takes it away at the
 * last close. */
Status abandonLoop(int number, const std::string& backingFile);

}  // namespace nabu::volume::keeper
