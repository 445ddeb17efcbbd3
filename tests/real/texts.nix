# A closure of a thousand small texts, one path of 12 MB that does not compress, and one that is built of
# them; all made within seconds, so that tests of many paths spend their time on the cache and not on the
# store. `large` is the file of 12 MB. The built path is the root: alone of them all it needs a signature
# to be trusted. Each text refers to the one before it and to that of half its number.
{ large, n ? 1000 }:
let
  # 1 to 40 lines of a hash each: some hundred bytes to some kilobytes, which compress to about a half.
  lines = i: builtins.concatStringsSep "\n" (
    builtins.genList (line: builtins.hashString "sha256" "${toString i} ${toString line}")
      (1 + i * i - (i * i / 40) * 40)
  );
  references = i: if i == 0 then [ ] else [ (builtins.elemAt texts (i / 2)) (builtins.elemAt texts (i - 1)) ];
  text = i: builtins.toFile "text${toString i}" (builtins.concatStringsSep "\n" ([ (lines i) ] ++ references i));
  texts = builtins.genList text n;
  all = texts ++ [ (builtins.path { path = large; name = "large"; }) ];
in
derivation {
  name = "texts";
  builder = "/bin/sh";
  system = builtins.currentSystem;
  all = builtins.toFile "all-texts" (builtins.concatStringsSep "\n" all);
  args = [ "-c" "echo $all >$out" ];
}
