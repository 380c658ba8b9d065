// RefPtr<T>: a counted reference to an object that counts itself (T::Ref, T::Unref).
//
// The object decides what the last Unref means: a Dentry goes back to the cache, a Handle is
// deleted. Threads: like a raw pointer; two threads need two RefPtrs.

#ifndef GOFER_BASE_REF_PTR_H_
#define GOFER_BASE_REF_PTR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace gofer {

template <typename T>
class RefPtr {
 public:
  RefPtr() = default;
  RefPtr(std::nullptr_t) {}  // NOLINT: implicit, as for a pointer
  // Takes a reference of its own.
  explicit RefPtr(T* object) : object_(object) {
    if (object_ != nullptr) object_->Ref();
  }
  // Takes over a reference that the caller holds.
  static RefPtr Adopt(T* object) {
    RefPtr result;
    result.object_ = object;
    return result;
  }

  RefPtr(const RefPtr& other) : RefPtr(other.object_) {}
  RefPtr(RefPtr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  RefPtr& operator=(const RefPtr& other) {
    if (this != &other) *this = RefPtr(other);
    return *this;
  }
  RefPtr& operator=(RefPtr&& other) noexcept {
    if (this != &other) {
      T* const old = std::exchange(object_, std::exchange(other.object_, nullptr));
      if (old != nullptr) old->Unref();
    }
    return *this;
  }
  ~RefPtr() {
    if (object_ != nullptr) object_->Unref();
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  // The caller owes an Unref.
  [[nodiscard]] T* Release() { return std::exchange(object_, nullptr); }

  friend bool operator==(const RefPtr& a, const RefPtr& b) { return a.object_ == b.object_; }

 private:
  T* object_ = nullptr;
};

// A count for objects that are simply deleted with their last reference. Starts at one, for
// RefPtr::Adopt.
template <typename T>
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void Ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() const {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete static_cast<const T*>(this);
  }

 protected:
  RefCounted() = default;
  ~RefCounted() = default;

 private:
  mutable std::atomic<uint32_t> refs_{1};
};

template <typename T, typename... Args>
RefPtr<T> MakeRef(Args&&... args) {
  return RefPtr<T>::Adopt(new T(std::forward<Args>(args)...));
}

}  // namespace gofer

#endif  // GOFER_BASE_REF_PTR_H_
