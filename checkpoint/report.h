// Says what a restore found, to a person and to a program.
//
// One line for each file that is not what it was: its verdict, its path as it was saved, what was
// saved and what was found. Paths are bytes: what is not printable is escaped.
//
// Threads: safe.

#ifndef CHECKPOINT_REPORT_H_
#define CHECKPOINT_REPORT_H_

#include <string>

#include "gofer/fs/tree_restore.h"

namespace gofer::checkpoint {

std::string ReportAsText(const fs::RestoreReport& report);
// {"relocated":..., "same":..., "findings":[{"path":..., "verdict":..., "saved":{...}, ...}]}
std::string ReportAsJson(const fs::RestoreReport& report);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_REPORT_H_
