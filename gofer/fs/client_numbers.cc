#include "gofer/fs/client_numbers.h"

#include <vector>

#include "absl/container/flat_hash_set.h"

namespace gofer::fs {
namespace {

// Makes a permutation of a map that sends no two to the same: what it sends nowhere but is sent to
// ends a chain, and goes to where the chain begins.
template <typename Map>
void Close(Map& map) {
  Map backwards;
  backwards.reserve(map.size());
  for (const auto& [from, to] : map) backwards.emplace(to, from);
  Map ends;
  for (const auto& [from, to] : map) {
    if (map.contains(to)) continue;
    auto begin = to;
    for (auto at = backwards.find(begin); at != backwards.end(); at = backwards.find(begin)) {
      begin = at->second;
    }
    ends.emplace(to, begin);
  }
  map.insert(ends.begin(), ends.end());
}

}  // namespace

ClientNumbers::ClientNumbers(std::span<const Kept> kept) {
  // A device is the one that the first of its files was on.
  absl::flat_hash_set<Device> met;
  absl::flat_hash_set<Device> given;
  for (const Kept& file : kept) {
    const Device host(file.host.dev_major, file.host.dev_minor);
    const Device client(file.client.dev_major, file.client.dev_minor);
    if (!met.insert(host).second || !given.insert(client).second) continue;
    if (host != client) devices_.emplace(host, client);
  }
  Close(devices_);

  absl::flat_hash_set<FileNumber> met_files;
  absl::flat_hash_set<FileNumber> given_files;
  for (const Kept& file : kept) {
    if (file.client.ino == 0) continue;
    const FileNumber own = OnClientDevice(file.host);
    if (!met_files.insert(own).second || !given_files.insert(file.client).second) continue;
    if (own != file.client) files_.emplace(own, file.client);
  }
  Close(files_);
}

FileNumber ClientNumbers::OnClientDevice(const FileNumber& host) const {
  const auto device = devices_.find(Device(host.dev_major, host.dev_minor));
  if (device == devices_.end()) return host;
  return {.dev_major = device->second.first, .dev_minor = device->second.second, .ino = host.ino};
}

FileNumber ClientNumbers::Of(const FileNumber& host) const {
  const FileNumber own = OnClientDevice(host);
  const auto file = files_.find(own);
  return file == files_.end() ? own : file->second;
}

void ClientNumbers::Swap(const FileNumber& a, const FileNumber& b) {
  const auto give = [this](const FileNumber& host, const FileNumber& number) {
    const FileNumber own = OnClientDevice(host);
    if (own == number) {
      files_.erase(own);
    } else {
      files_.insert_or_assign(own, number);
    }
  };
  const FileNumber before = Of(a);
  give(a, Of(b));
  give(b, before);
}

ClientNumbers ClientNumbers::WithSwapped(
    std::span<const std::pair<FileNumber, FileNumber>> pairs) const {
  ClientNumbers swapped = *this;
  for (const auto& [a, b] : pairs) swapped.Swap(a, b);
  return swapped;
}

}  // namespace gofer::fs
