import torch
from torch import nn as nn
from torch.nn import functional as F

from basicsr.utils.registry import ARCH_REGISTRY


class ResidualBlock(nn.Module):
    """Residual block of EDSR, with the parameter names of the released LIIF models.

    It has a style of:
        ---Conv-ReLU-Conv-+-
         |________________|

    Args:
        num_feat (int): Channel number of intermediate features. Default: 64.
        res_scale (float): Residual scale. Default: 1.
    """

    def __init__(self, num_feat=64, res_scale=1):
        super(ResidualBlock, self).__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(num_feat, num_feat, 3, 1, 1))

    def forward(self, x):
        return x + self.body(x) * self.res_scale


class EDSREncoder(nn.Module):
    """EDSR without mean shift and upsampling.

    Args:
        num_feat (int): Channel number of intermediate features. Default: 64.
        num_block (int): Block number in the trunk network. Default: 16.
        res_scale (float): Residual scale. Default: 1.
    """

    def __init__(self, num_feat=64, num_block=16, res_scale=1):
        super(EDSREncoder, self).__init__()
        self.head = nn.Sequential(nn.Conv2d(3, num_feat, 3, 1, 1))
        self.body = nn.Sequential(*[ResidualBlock(num_feat, res_scale) for _ in range(num_block)],
                                  nn.Conv2d(num_feat, num_feat, 3, 1, 1))

    def forward(self, x):
        x = self.head(x)
        return x + self.body(x)


class Decoder(nn.Module):
    """Multilayer perceptron that maps a feature and a relative coordinate to a colour.

    Args:
        num_in (int): Channel number of inputs.
        num_hidden (int): Channel number of hidden layers.
        depth (int): Number of linear layers, at least 2.
    """

    def __init__(self, num_in, num_hidden, depth):
        super(Decoder, self).__init__()
        layers = [nn.Linear(num_in, num_hidden), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Linear(num_hidden, num_hidden), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(num_hidden, 3))

    def forward(self, x):
        return self.layers(x)


def make_coord(height, width, like):
    """Make the coordinates of pixel centers.

    Args:
        height (int): Number of rows.
        width (int): Number of columns.
        like (Tensor): Tensor with the wanted dtype and device.

    Returns:
        Tensor: (height, width, 2), in the order (y, x), in the range [-1, 1].
    """
    y, x = [-1 + 1 / n + (2 / n) * torch.arange(n, dtype=like.dtype, device=like.device) for n in (height, width)]
    return torch.stack([y[:, None].expand(height, width), x[None, :].expand(height, width)], dim=-1)


def sample_nearest(feat, coord):
    """Sample the nearest pixels of a feature map.

    Args:
        feat (Tensor): (B, C, h, w).
        coord (Tensor): (Q, 2), in the order (y, x), in the range [-1, 1].

    Returns:
        Tensor: (B, Q, C).
    """
    grid = coord.flip(-1).expand(feat.size(0), 1, -1, -1)
    return F.grid_sample(feat, grid, mode='nearest', align_corners=False)[:, :, 0].permute(0, 2, 1)


@ARCH_REGISTRY.register()
class EDSRLIIF(nn.Module):
    """LIIF with the EDSR encoder. One model upsamples to any size.

    Paper: Learning Continuous Image Representation with Local Implicit Image Function.
    Ref git repo: https://github.com/yinboc/liif

    Args:
        num_feat (int): Channel number of the encoder. Default: 64.
        num_block (int): Block number of the encoder. Default: 16.
        res_scale (float): Residual scale of the encoder. Default: 1.
        num_hidden (int): Channel number of the hidden layers of the decoder. Default: 256.
        depth (int): Number of linear layers of the decoder. Default: 5.
        upscale (float): Upsampling factor if forward gets no size. It need not be an integer. Default: 4.
        chunk (int): Number of output pixels that are decoded at once during testing. Default: 30000.
    """

    def __init__(self, num_feat=64, num_block=16, res_scale=1, num_hidden=256, depth=5, upscale=4, chunk=30000):
        super(EDSRLIIF, self).__init__()
        self.encoder = EDSREncoder(num_feat, num_block, res_scale)
        self.upscale = upscale
        self.chunk = chunk
        self.experts = self.make_decoders(num_feat, num_hidden, [depth])

    @staticmethod
    def make_decoders(num_feat, num_hidden, depths):
        """Make the decoders. An input consists of 3x3 features, the relative coordinate and the cell."""
        return nn.ModuleList([Decoder(num_feat * 9 + 2 + 2, num_hidden, depth) for depth in depths])

    def route(self, latent):
        """Return the weight of each decoder at each LR pixel, (B, J, h, w)."""
        return latent.new_ones(latent.size(0), 1, *latent.shape[2:])

    def decode(self, inputs, weights):
        """Decode colours.

        Args:
            inputs (Tensor): Inputs of the decoders, (B, Q, C).
            weights (Tensor): Weights of the J decoders, (B, Q, J).

        Returns:
            Tensor: (B, Q, 3), in the range [-1, 1].
        """
        return self.experts[0](inputs)

    def query(self, feat, weights, coord, cell):
        """Decode the colours at coordinates, with the local ensemble of the four nearest features.

        Args:
            feat (Tensor): Unfolded features, (B, C * 9, h, w).
            weights (Tensor): Weights of the J decoders, (B, J, h, w).
            coord (Tensor): Q coordinates, (Q, 2), in the order (y, x).
            cell (Tensor): Height and width of an output pixel, (2, ).

        Returns:
            Tensor: (B, Q, 3), nominally in the range [0, 1].
        """
        b, _, h, w = feat.shape
        size = coord.new_tensor([h, w])
        centers = make_coord(h, w, coord).permute(2, 0, 1)[None]
        preds, areas = [], []
        for vy in (-1, 1):
            for vx in (-1, 1):
                # eps makes queries in the middle between two features always round to the same side
                shifted = coord + coord.new_tensor([vy / h, vx / w]) + 1e-6
                shifted = shifted.clamp(-1 + 1e-6, 1 - 1e-6)
                rel_coord = (coord - sample_nearest(centers, shifted)[0]) * size
                rel_cell = (cell * size).expand(b, coord.size(0), 2)
                inputs = [sample_nearest(feat, shifted), rel_coord.expand(b, -1, -1), rel_cell]
                preds.append(self.decode(torch.cat(inputs, dim=-1), sample_nearest(weights, shifted)))
                areas.append(rel_coord.prod(dim=-1).abs() + 1e-9)
        # each prediction is weighted by the area on the opposite side of the query
        areas = torch.stack(areas)
        blend = areas.flip(0) / areas.sum(dim=0)
        return 0.5 + 0.5 * (torch.stack(preds) * blend[:, None, :, None]).sum(dim=0)

    def forward(self, x, size=None):
        """Upsample images.

        Args:
            x (Tensor): Input images, (B, 3, h, w), in the range [0, 1].
            size (tuple[int], optional): Height and width of the output. By default, those of the input times
                upscale, rounded.

        Returns:
            Tensor: (B, 3, height, width), nominally in the range [0, 1].
        """
        b, _, h, w = x.shape
        height, width = size or (round(h * self.upscale), round(w * self.upscale))
        latent = self.encoder((x - 0.5) / 0.5)
        weights = self.route(latent)
        feat = F.unfold(latent, 3, padding=1).view(b, -1, h, w)
        coord = make_coord(height, width, x).view(-1, 2)
        cell = x.new_tensor([2 / height, 2 / width])
        chunks = [coord] if self.training else coord.split(self.chunk)
        out = torch.cat([self.query(feat, weights, chunk, cell) for chunk in chunks], dim=1)
        return out.permute(0, 2, 1).reshape(b, 3, height, width)


@ARCH_REGISTRY.register()
class EDSRMoEISR(EDSRLIIF):
    """MoEISR based on LIIF, with the EDSR encoder.

    A mapper chooses one of several decoders of increasing depth for each LR pixel. In training, all of them are
    mixed by the Gumbel-softmax of their scores.

    Paper: Balancing Efficiency and Quality: MoEISR for Arbitrary-Scale Image Super-Resolution.

    Args:
        num_feat (int): Channel number of the encoder. Default: 64.
        num_block (int): Block number of the encoder. Default: 16.
        res_scale (float): Residual scale of the encoder. Default: 1.
        num_hidden (int): Channel number of the hidden layers of the decoders: 256 for MoEISR-b, 128 for MoEISR-s.
            Default: 256.
        depths (tuple[int]): Number of linear layers of each decoder, increasing. Default: (2, 3, 4, 5).
        mapper_depth (int): Number of convolutions of the mapper. Default: 5.
        tau (float): Temperature of the Gumbel-softmax. Default: 1.
        upscale (float): Upsampling factor if forward gets no size. It need not be an integer. Default: 4.
        chunk (int): Number of output pixels that are decoded at once during testing. Default: 30000.
    """

    def __init__(self,
                 num_feat=64,
                 num_block=16,
                 res_scale=1,
                 num_hidden=256,
                 depths=(2, 3, 4, 5),
                 mapper_depth=5,
                 tau=1,
                 upscale=4,
                 chunk=30000):
        super(EDSRMoEISR, self).__init__(num_feat, num_block, res_scale, num_hidden, depths[-1], upscale, chunk)
        self.experts = self.make_decoders(num_feat, num_hidden, depths)
        self.tau = tau
        layers = []
        for _ in range(mapper_depth - 1):
            layers += [nn.Conv2d(num_feat, num_feat, 3, 1, 1), nn.ReLU(inplace=True)]
        self.mapper = nn.Sequential(*layers, nn.Conv2d(num_feat, len(depths), 3, 1, 1))

    def route(self, latent):
        scores = self.mapper(latent)
        if self.training:
            noise = -torch.empty_like(scores).exponential_().log()
            return F.softmax((scores + noise) / self.tau, dim=1)
        return F.one_hot(scores.argmax(dim=1), scores.size(1)).permute(0, 3, 1, 2).to(scores)

    def decode(self, inputs, weights):
        if self.training:
            return sum(expert(inputs) * weights[..., j:j + 1] for j, expert in enumerate(self.experts))
        choice = weights.argmax(dim=-1)
        out = inputs.new_empty(*inputs.shape[:-1], 3)
        for j, expert in enumerate(self.experts):
            out[choice == j] = expert(inputs[choice == j])
        return out
