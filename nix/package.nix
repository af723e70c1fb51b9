# The tool as a nixpkgs package: pkgs.callPackage ./nix/package.nix { }
{ lib, rustPlatform }:

rustPlatform.buildRustPackage {
  pname = "model-build";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  src = lib.cleanSource ./..;
  cargoLock.lockFile = ../Cargo.lock;
  buildAndTestSubdir = "model-build";
  buildFeatures = [ "cli" ];
  meta = {
    description = "Convert, quantize, verify and embed machine-learning models as part of the build";
    license = with lib.licenses; [ mit asl20 ];
    mainProgram = "model-build";
  };
}
