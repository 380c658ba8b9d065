// A guest's state on its way from one device to the next, as a monitor carries it: a pipe for
// SET_DEVICE_STATE_FD, and CHECK_DEVICE_STATE for the outcome.
//
// Threads: one. What cannot be set up ends the test.

#ifndef TEST_SUPPORT_DEVICE_STATE_STREAM_H_
#define TEST_SUPPORT_DEVICE_STATE_STREAM_H_

#include <optional>
#include <string>

#include "vhost/driver/machine.h"

namespace gofer::testing {

// Of a device whose rings have been stopped; none if it says that it has failed.
std::optional<std::string> SaveDeviceState(vhost::driver::Machine& machine);
// To a device whose rings have not been started; false if it says that it has failed.
bool LoadDeviceState(vhost::driver::Machine& machine, const std::string& state);

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_DEVICE_STATE_STREAM_H_
