# Of this, packaging/homebrew/fill makes the formula of a release.
class Openpista < Formula
  desc "Agent that works on your computer for you, and that you can leave running"
  homepage "https://github.com/openpista/openpista"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "https://github.com/openpista/openpista/releases/download/v@VERSION@/openpista-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin@"
    end
    on_intel do
      url "https://github.com/openpista/openpista/releases/download/v@VERSION@/openpista-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin@"
    end
  end

  on_linux do
    on_arm do
      url "https://github.com/openpista/openpista/releases/download/v@VERSION@/openpista-@VERSION@-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-gnu@"
    end
    on_intel do
      url "https://github.com/openpista/openpista/releases/download/v@VERSION@/openpista-@VERSION@-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-gnu@"
    end
  end

  def install
    bin.install "openpistacrab"
    # Beside the program, which looks for them there.
    bin.install "openpista-guard"
    bin.install "openpista-wasm"
    bin.install "openpista-desktop"
    bin.install "openpista-worker" if OS.linux?
    man1.install "man/openpistacrab.1"
    bash_completion.install "completions/openpistacrab.bash" => "openpistacrab"
    zsh_completion.install "completions/_openpistacrab"
    fish_completion.install "completions/openpistacrab.fish"
    pkgshare.install "config.example.toml"
  end

  service do
    run [opt_bin/"openpistacrab", "start"]
    keep_alive crashed: true
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/openpistacrab --version")
    # The model inside the program needs no key and no configuration.
    assert_match "brewed", shell_output("#{bin}/openpistacrab --data-dir #{testpath} run --yes -e '! echo brewed'")
  end
end
