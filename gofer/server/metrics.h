// What `gofer status` tells, for a monitoring system: Prometheus' text format.
//
// Every name begins with gofer_; sizes are counts, times are seconds. Requests are histograms and
// counters, which begin when the gofer does; all else are gauges, of the moment in which they were
// asked for.
//
// Threads: safe. Errors: none.
// Source:  the design's command line; Prometheus' exposition format 0.0.4.

#ifndef GOFER_SERVER_METRICS_H_
#define GOFER_SERVER_METRICS_H_

#include <string>

#include "gofer/control/control.pb.h"

namespace gofer::server {

std::string StatusAsMetrics(const control::Status& status);

}  // namespace gofer::server

#endif  // GOFER_SERVER_METRICS_H_
