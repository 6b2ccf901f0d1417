// Keeps the end of a scrolling element in sight while it grows, until the user looks elsewhere.
const kNearPixels = 48;

export class Follow {
  constructor(scroller, button) {
    this.scroller = scroller;
    this.button = button;
    this.following = true;
    this.resting = false;  // nothing to follow: an empty conversation is read from its top
    this.last_top = 0;
    scroller.addEventListener("scroll", () => this.scrolled(), {passive: true});
    scroller.addEventListener("wheel", (event) => event.deltaY < 0 && this.leave(), {passive: true});
    button.addEventListener("click", () => this.jump());
    const observer = new ResizeObserver(() => this.grown());  // of pictures that arrive, too
    observer.observe(scroller);
    observer.observe(scroller.firstElementChild);
  }

  distance() {
    return this.scroller.scrollHeight - this.scroller.clientHeight - this.scroller.scrollTop;
  }

  // Up is always the user's doing: the page itself only ever goes down.
  scrolled() {
    const top = this.scroller.scrollTop;
    if (this.distance() < kNearPixels) this.following = true;
    else if (top < this.last_top) this.following = false;
    this.last_top = top;
    this.button.hidden = this.resting || this.distance() < 2 * kNearPixels;
  }

  leave() {
    if (this.scroller.scrollTop > 0) this.following = false;
  }

  grown() {
    // The user's scrolling may not have been reported yet.
    if (this.scroller.scrollTop < this.last_top && this.distance() > kNearPixels) this.leave();
    if (this.following && !this.resting) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.last_top = this.scroller.scrollTop;
    }
    this.button.hidden = this.following || this.distance() < 2 * kNearPixels;
  }

  // Follows from here on, whatever was shown before.
  restart() {
    this.following = true;
    this.last_top = 0;
  }

  jump() {
    this.restart();
    this.grown();
  }
}
