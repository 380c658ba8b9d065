// The configuration space of a virtio-fs device: how the guest finds it, and how many queues it
// has.
//
// Source: VIRTIO 1.2 s.5.11.4; spec/vhost-user-fs.md s.18.

#ifndef VHOST_VIRTIO_FS_CONFIG_H_
#define VHOST_VIRTIO_FS_CONFIG_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "gofer/base/byte_reader.h"

namespace gofer::virtio_fs {

inline constexpr size_t kMaxTag = 36;

// Little-endian.
struct Config {
  // UTF-8, filled up with zeroes; a tag of full length has none behind it.
  std::array<char, kMaxTag> tag;
  uint32_t num_request_queues;
  // Of the notification queue, which this device does not have.
  uint32_t notify_buf_size;
};
static_assert(WireStruct<Config> && sizeof(Config) == 44);

}  // namespace gofer::virtio_fs

#endif  // VHOST_VIRTIO_FS_CONFIG_H_
